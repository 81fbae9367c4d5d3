import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import { Server as HttpsServer } from 'node:https';
import { describe } from 'node:test';
import type { TLSSocket } from 'node:tls';
import { handleOf } from '#moult/node/handle.js';
import { duplicate } from '#moult/os/descriptors/descriptor.js';
import { NodeProtection } from '#moult/tls/records/node-protection.js';
import type { SealedRecord } from '#moult/tls/records/sealed-records.js';
import {
  type AdoptTlsOptions,
  adoptTls,
  captureMoved,
  type MovedTlsSocket,
} from '#moult/tls/socket/moved-socket.js';
import { TLS13_CIPHERS } from '#moult/tls/state/tls-state.js';
import { until } from '../../support/events.js';
import { temporaryFolder } from '../../support/temporary-folder.js';
import { type Later, tidy } from '../../support/tidy.js';
import { type Authority, makeAuthority } from '../authority.js';
import { connectKnown, type Known, listenKnown, moveHere } from '../move-here.js';

describe('a TLS connection that moved', () => {
  for (const cipher of TLS13_CIPHERS)
    tidy(`has what was sent whole, in both directions and any lengths, with ${cipher}`, async (later) => {
      for (const options of [{}, { protection: new NodeProtection() }, { maxRecords: 40 }]) {
        const { client, ...known } = await connection(later, { ciphers: cipher });
        const moved = moveHere({ client, ...known }, options);
        moved.begin();
        const lengths = [0, 1, 16_383, 16_384, 16_385, 131_072, 131_073, 700_001, 5];
        await Promise.all([exchange(client, moved, lengths), exchange(moved, client, lengths)]);
        moved.destroy();
      }
    });

  tidy('neither reads nor writes before it begins', async (later) => {
    const { client, ...known } = await connection(later);
    const moved = moveHere({ client, ...known });
    const read: string[] = [];
    let sent = '';
    client.on('data', (data) => {
      sent += data;
    });
    moved.on('data', (data) => read.push(String(data)));
    moved.write('early ');
    moved.write('bird');
    client.write('before');
    await new Promise((resolve) => setImmediate(resolve));
    await until(() => (handleOf(client)?.writeQueueSize ?? 0) === 0, 'the kernel');
    assert.deepEqual([read, sent, captureMoved(moved)], [[], '', undefined]);
    moved.begin();
    await until(() => sent === 'early bird' && read.join('') === 'before', 'both directions');
    moved.destroy();
  });

  tidy('says close_notify when it ends, and hears it', async (later) => {
    for (const first of ['client', 'server'] as const) {
      const known = await connection(later, { allowHalfOpen: true });
      const moved = moveHere(known);
      moved.begin();
      const [one, other] = first === 'client' ? [known.client, moved] : [moved, known.client];
      let heard = '';
      other.on('data', (data) => {
        heard += data;
      });
      const ended = once(other, 'end');
      const closed = Promise.all([once(one, 'close'), once(other, 'close')]);
      one.end('last words');
      await ended;
      assert.equal(heard, 'last words');
      one.resume();
      other.end('bye');
      await closed;
      assert.equal(moved.errored, null);
    }
  });

  tidy('lets its callbacks know when it is destroyed with data that waits', async (later) => {
    const known = await connection(later);
    const held = moveHere(known);
    const failure = new Promise((resolve) => held.write('never', resolve));
    held.destroy();
    assert.ok((await failure) instanceof Error);

    const busy = await connection(later);
    const moved = moveHere(busy);
    moved.on('error', () => {});
    moved.begin();
    busy.client.pause();
    const large = new Promise((resolve) => moved.write(randomBytes(30_000_000), resolve));
    await until(() => (handleOf(moved)?.writeQueueSize ?? 0) > 0, 'a full kernel');
    assert.equal(captureMoved(moved), undefined, 'records are under way');
    moved.destroy();
    assert.ok((await large) instanceof Error);
  });

  tidy('holds no more than a slice of long data sealed', async (later) => {
    const known = await connection(later);
    const moved = moveHere(known);
    moved.begin();
    known.client.pause();
    moved.write(randomBytes(20_000_000));
    await until(() => (handleOf(moved)?.writeQueueSize ?? 0) > 0, 'a full kernel');
    assert.ok((handleOf(moved)?.writeQueueSize ?? 0) <= 140_000);
    moved.destroy();
  });

  tidy('goes on behind the part of a record that a full kernel took', async (later) => {
    for (const options of [{}, { maxRecords: 30 }]) {
      const { client, ...known } = await connection(later);
      const moved = moveHere({ client, ...known }, options);
      moved.begin();
      const [sent, read] = [createHash('sha256'), createHash('sha256')];
      let waited = 0;
      let bytes = 0;
      let count = 0;
      client.pause();
      const end = new Promise((resolve) => client.on('end', resolve));
      client.on('data', (data) => {
        read.update(data);
        bytes += data.length;
      });
      // Each one alone: what the stream collects meanwhile would go another way.
      for (; waited < 20; count += 1) {
        const data = randomBytes(1 + (count % 16_384));
        sent.update(data);
        const written = new Promise((resolve) => moved.write(data, resolve));
        if ((handleOf(moved)?.writeQueueSize ?? 0) > 0) {
          waited += 1;
          client.resume();
          await written;
          client.pause();
        } else await written;
      }
      client.resume();
      moved.end();
      await end;
      assert.equal(read.digest('hex'), sent.digest('hex'), `${bytes} bytes of ${count} records`);
      assert.equal(moved.bytesWritten, bytes);
      moved.destroy();
    }
  });

  tidy('keeps its content when a listener throws, and goes on', async (later) => {
    const { client, ...known } = await connection(later);
    const moved = moveHere({ client, ...known });
    moved.begin();
    const thrown = new Promise((resolve) => process.setUncaughtExceptionCaptureCallback(resolve));
    later(() => process.setUncaughtExceptionCaptureCallback(null));
    moved.once('data', () => {
      throw new Error('a listener');
    });
    client.write('one');
    assert.match(String(await thrown), /a listener/);
    process.setUncaughtExceptionCaptureCallback(null);
    moved.on('data', (data) => moved.write(data));
    client.write('two');
    assert.equal(String((await once(client, 'data'))[0]), 'two');
    moved.destroy();
  });

  tidy('moves on and on, and no number is used twice', async (later) => {
    const seen = new Set<string>();
    const sealed = (record: unknown) => {
      const { key, sequence } = record as SealedRecord;
      assert.ok(!seen.has(`${key} ${sequence}`), `${sequence} was used twice`);
      seen.add(`${key} ${sequence}`);
    };
    subscribe('moult.tls.sealed', sealed);
    later(() => unsubscribe('moult.tls.sealed', sealed));
    const { client, listener, ...known } = await connection(later);
    let moved = moveHere({ client, listener, ...known }, { maxRecords: 7 });
    moved.begin();
    for (let turn = 0; turn < 30; turn += 1) {
      moved.on('data', (data) => moved.write(data));
      client.write(`turn ${turn}`);
      assert.equal(String((await once(client, 'data'))[0]), `turn ${turn}`);
      await until(() => moved.writableLength === 0, 'what was written');
      const state = captureMoved(moved);
      assert.ok(state);
      assert.equal(captureMoved(moved), undefined, 'it can be captured twice');
      if (turn % 5 === 4) {
        // Undone: it goes on here as if nothing had been.
        moved.write('kept');
        await new Promise((resolve) => setImmediate(resolve));
        const before = seen.size;
        moved.release();
        assert.equal(String((await once(client, 'data'))[0]), 'kept');
        assert.equal(seen.size > before, true);
        moved.removeAllListeners('data');
        continue;
      }
      moved = moveOn(moved, state, listener);
    }
    assert.ok(seen.size >= 30);
    moved.destroy();
  });

  tidy('is not at rest while one side has ended, or before it has begun', async (later) => {
    const known = await connection(later, { allowHalfOpen: true });
    const moved = moveHere(known);
    assert.equal(captureMoved(moved), undefined);
    moved.begin();
    moved.resume();
    known.client.end();
    await once(moved, 'end');
    assert.equal(captureMoved(moved), undefined);
    moved.end();
    assert.equal(captureMoved(moved), undefined);
    await once(moved, 'close');
    assert.equal(captureMoved(moved), undefined);
    assert.equal(captureMoved(known.client), undefined);
  });

  tidy('leaves nothing of its secrets behind, and takes none that are shared', async (later) => {
    const known = await connection(later);
    const { state } = known;
    const moved = moveHere(known);
    const secrets = [state.clientSecret, state.serverSecret, state.exporterSecret];
    const before = secrets.map((secret) => Buffer.from(secret));
    for (const secret of secrets) secret.fill(0);
    moved.begin();
    await until(() => captureMoved(moved) !== undefined || moved.destroyed, 'rest');
    moved.release();
    const copy = captureMoved(moved);
    assert.deepEqual([copy?.clientSecret, copy?.serverSecret, copy?.exporterSecret], before);
    moved.destroy();
    assert.deepEqual(copy?.clientSecret, before[0], 'the copy went with the socket');
  });

  tidy('takes a state that cannot be for an error, and leaves the descriptor', async (later) => {
    const known = await connection(later);
    const state = { ...known.state, clientSecret: Buffer.alloc(3) };
    const fd = duplicate(handleOf(known.server)?.fd ?? -1);
    assert.throws(() => adoptTls(fd, state), RangeError);
    adoptTls(fd, known.state).destroy();
  });

  tidy('splits what it sends as the client wants it', async (later) => {
    const known = await connection(later);
    const moved = moveHere({ ...known, state: { ...known.state, maxSend: 512 } });
    moved.begin();
    await exchange(moved, known.client, [511, 512, 513, 200_000]);
    const state = captureMoved(moved);
    assert.equal(state?.maxSend, 512);
    assert.ok((state?.writeSequence ?? 0n) >= 394n);
    moved.destroy();
  });

  tidy('never sends more than the client takes, whatever the service asks for', async (later) => {
    const { listener, ...known } = await connection(later);
    let moved = moveHere({ ...known, listener, state: { ...known.state, maxSend: 1024 } });
    moved.begin();
    const sealedIn = async (bytes: number) => {
      const before = captured(moved).writeSequence;
      moved.release();
      await exchange(moved, known.client, [bytes]);
      const state = captured(moved);
      assert.equal(state.maxSend, 1024);
      return { records: Number(state.writeSequence - before), state };
    };
    assert.equal((await sealedIn(102_400)).records, 100);
    moved.release();
    assert.equal(moved.setMaxSendFragment(16_384), true);
    assert.equal((await sealedIn(102_400)).records, 100);
    moved.release();
    assert.equal(moved.setMaxSendFragment(512), true);
    const { records, state } = await sealedIn(102_400);
    assert.equal(records, 200);
    // What the service asked for is asked for elsewhere, too.
    moved = moveOn(moved, state, listener, {});
    assert.equal((await sealedIn(102_400)).records, 200);
    moved.destroy();
  });

  tidy('is served by an https server: small answers, large ones, bodies, and time-outs', async (later) => {
    const authority = authorityOf(later);
    const server = new HttpsServer(authority.server, (request, response) => {
      const hash = createHash('sha1');
      request.on('data', (data) => hash.update(data));
      request.on('end', () =>
        response.end(request.url === '/large' ? LARGE : `${request.url} ${hash.digest('hex')}`),
      );
    });
    const known = await connection(later);
    const moved = moveHere(known);
    Object.assign(moved, { server });
    server.emit('secureConnection', moved);
    moved.begin();
    const body = randomBytes(300_000);
    const answer = await ask(
      known.client,
      `POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n`,
      body,
    );
    assert.match(answer.toString(), new RegExp(`/body ${createHash('sha1').update(body).digest('hex')}$`));
    const large = await ask(known.client, 'GET /large HTTP/1.1\r\nHost: x\r\n\r\n');
    assert.ok(large.subarray(-LARGE.length).equals(LARGE));
    assert.match(String(await ask(known.client, 'GET /small HTTP/1.1\r\nHost: x\r\n\r\n')), /\/small /);
    const closed = once(moved, 'close');
    moved.once('timeout', () => moved.destroy());
    moved.setTimeout(20);
    await closed;
  });
});

const LARGE = randomBytes(1_000_000);
let made: Authority | undefined;

function authorityOf(later: Later): Authority {
  made ??= makeAuthority(temporaryFolder(later));
  return made;
}

async function connection(later: Later, options: object = {}): Promise<Known> {
  return connectKnown(later, await listenKnown(later, { ...authorityOf(later).server, ...options }), {
    allowHalfOpen: 'allowHalfOpen' in options,
  } as object);
}

function captured(moved: MovedTlsSocket): Known['state'] {
  const state = captureMoved(moved);
  assert.ok(state);
  return state;
}

/** As two processes do it: the descriptor goes over, the one before is destroyed, the next begins. */
function moveOn(
  from: MovedTlsSocket,
  state: Known['state'],
  server: Known['listener'],
  options: AdoptTlsOptions = { maxRecords: 7 },
): MovedTlsSocket {
  const fd = duplicate(handleOf(from)?.fd ?? -1);
  const next = adoptTls(fd, state, { server, ...options });
  from.destroy();
  next.begin();
  return next;
}

/** Writes so many bytes at a time, and reads them on the other side. */
async function exchange(from: TLSSocket, to: TLSSocket, lengths: readonly number[]): Promise<void> {
  const sent = createHash('sha1');
  const read = createHash('sha1');
  const total = lengths.reduce((sum, length) => sum + length, 0);
  let count = 0;
  const whole = new Promise<void>((resolve) => {
    to.on('data', (data) => {
      read.update(data);
      count += data.length;
      if (count >= total) resolve();
    });
  });
  for (const length of lengths) {
    const data = randomBytes(length);
    sent.update(data);
    from.write(data);
  }
  await whole;
  to.removeAllListeners('data');
  assert.equal(count, total);
  assert.equal(read.digest('hex'), sent.digest('hex'));
}

async function ask(client: TLSSocket, head: string, body = Buffer.alloc(0)): Promise<Buffer> {
  let answer = Buffer.alloc(0);
  const whole = new Promise<void>((resolve) => {
    client.on('data', (data) => {
      answer = Buffer.concat([answer, data]);
      const end = answer.indexOf('\r\n\r\n');
      const length = Number(
        /content-length: (\d+)/i.exec(answer.subarray(0, end).toString())?.[1] ?? Number.NaN,
      );
      if (end >= 0 && answer.length >= end + 4 + length) resolve();
    });
  });
  client.write(head);
  if (body.length > 0) client.write(body);
  await whole;
  client.removeAllListeners('data');
  return answer;
}
