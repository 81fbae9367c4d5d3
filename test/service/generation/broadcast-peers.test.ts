import assert from 'node:assert/strict';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { describe } from 'node:test';
import { broadcastHub } from '#moult/broadcast/shared.js';
import { Door } from '#moult/channel/door.js';
import { BroadcastPeers } from '#moult/service/generation/broadcast-peers.js';
import { soon } from '../../support/events.js';
import { temporaryFolder } from '../../support/temporary-folder.js';
import { type Later, tidy } from '../../support/tidy.js';

/** A generation of another slot. @returns the number of the first that comes to share broadcasts. */
function slotAt(path: string, later: Later): Promise<number | undefined> {
  return new Promise((resolve) => {
    const door = Door.open(path, 'predecessor', (channel, { generation }) => {
      later(() => channel.close());
      resolve(generation);
    });
    later(() => door.close());
  });
}

describe('the channels to other slots', () => {
  tidy('are tried again where a slot was too busy to answer', async (later) => {
    const path = join(temporaryFolder(later), 'slot.sock');
    broadcastHub().declare({ name: 'news', deliver: () => {} });
    const met: Socket[] = [];
    // It does not greet, and then it is gone.
    const busy = createServer((socket) => {
      met.push(socket);
      socket.destroy();
      busy.close();
    });
    await new Promise<void>((resolve) => busy.listen(path, resolve));
    const peers = new BroadcastPeers(2);
    peers.learn([{ generation: 1, door: path }]);
    await new Promise<void>((resolve) => busy.once('close', resolve));
    assert.equal(met.length, 1);
    later(() => peers.learn([]));
    assert.equal(await soon(slotAt(path, later), 'the other slot'), 2);
  });
});
