import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe } from 'node:test';
import { TLSSocket } from 'node:tls';
import { temporaryFolder } from '../support/temporary-folder.js';
import { tidy } from '../support/tidy.js';
import { makeAuthority } from './authority.js';
import { connectKnown, listenKnown, moveHere } from './move-here.js';

describe('a TLS connection that moved', () => {
  tidy('goes on', async (later) => {
    const authority = makeAuthority(temporaryFolder(later));
    const listener = await listenKnown(later, authority.server);
    const known = await connectKnown(later, listener);
    const moved = moveHere(known);
    assert.ok(moved instanceof TLSSocket);
    moved.on('data', (data) => moved.write(data));
    known.client.write('ping');
    moved.begin();
    const [back] = await once(known.client, 'data');
    assert.equal(String(back), 'ping');
    known.client.end();
    await once(moved, 'close');
  });
});
