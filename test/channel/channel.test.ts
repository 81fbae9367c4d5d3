import assert from 'node:assert/strict';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe } from 'node:test';
import type { Channel } from '#moult/channel/channel.js';
import { MoultError } from '#moult/errors.js';
import { closeDescriptor } from '#moult/os/descriptors/descriptor.js';
import {
  receiveDescriptors,
  sendDescriptors,
  streamSocketPair,
} from '#moult/os/sockets/descriptor-socket.js';
import { encodeFrame, HEADER_BYTES, MAX_JSON_BYTES } from '#moult/protocol/frame.js';
import { comesBackTo, isCloseOnExec, isOpen, openDescriptors } from '../support/descriptors.js';
import { eventOf, soon, turns, until } from '../support/events.js';
import fc from '../support/fast-check.js';
import { fixture } from '../support/fixture.js';
import { sequenceOf } from '../support/sequence.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { type Later, tidy } from '../support/tidy.js';
import { bareChannel, channels } from './pair.js';

const listener = (name: string) => ({ name, family: 'tcp', backlog: 1, path: null }) as const;
const closing = (channel: Channel) => soon(channel.closed, 'the closing of a channel');

/** Files whose text is their name. */
function files(later: Later, names: readonly string[]): number[] {
  const folder = temporaryFolder(later);
  const fds = names.map((name, i) => {
    const path = join(folder, String(i));
    writeFileSync(path, name);
    return openSync(path, 'r');
  });
  later(() => {
    for (const fd of fds) if (isOpen(fd)) closeSync(fd);
  });
  return fds;
}

describe('a channel', () => {
  tidy(
    'brings what the other side said before its end, though this side writes to it first',
    async (later) => {
      const { channel, peer } = bareChannel(later);
      const seen: string[] = [];
      channel.on('release', ({ name }) => seen.push(name));
      const parts = Array.from({ length: 40 }, (_, i) => ({ type: 'release', name: `${i}` }));
      for (const one of parts) peer.write(encodeFrame(one, Buffer.alloc(1000)));
      peer.destroy();
      channel.send({ type: 'confirm' });
      await closing(channel);
      assert.deepEqual(
        seen,
        parts.map(({ name }) => name),
      );
    },
  );

  tidy(
    'brings what the other side said before its end, though descriptors can no longer go there',
    async (later) => {
      const [near, far] = channels(later);
      const [fd] = files(later, ['late']);
      const seen: string[] = [];
      near.on('release', ({ name }) => seen.push(name));
      for (const name of ['first', 'last']) far.send({ type: 'release', name });
      far.close();
      near.send({ type: 'hold', listener: listener('a') }, [fd as number]);
      near.send({ type: 'confirm' });
      assert.deepEqual(seen, [], 'not in the middle of what this side does');
      await closing(near);
      assert.deepEqual(seen, ['first', 'last']);
    },
  );

  tidy('brings messages in order, each with its attachment and its descriptors', async (later) => {
    const [near, far] = channels(later);
    const fds = files(later, ['a', 'b', 'c']);
    const seen: string[] = [];
    const done = new Promise<void>((resolve) => {
      far.on('hold', ({ listener: { name } }, incoming) => {
        const taken = incoming.take();
        assert.ok(taken.every(isCloseOnExec));
        seen.push(`${name}:${taken.map((fd) => readFileSync(fd, 'utf8')).join('')}:${incoming.attachment}`);
        for (const fd of taken) closeSync(fd);
      });
      far.on('release', ({ name }) => seen.push(name));
      far.on('confirm', () => resolve());
    });
    near.send({ type: 'hold', listener: listener('one') }, [fds[0] ?? -1], Buffer.from('beside'));
    near.send({ type: 'release', name: 'between' });
    near.send({ type: 'hold', listener: listener('two') }, fds.slice(1));
    near.send({ type: 'hold', listener: listener('none') });
    near.send({ type: 'confirm' });
    await soon(done, 'the last message');
    assert.deepEqual(seen, ['one:a:beside', 'between', 'two:bc:', 'none::']);
  });

  tidy('brings both directions at once, whatever is sent in what order', async (later) => {
    const [file = -1] = files(later, ['x']);
    await fc.assert(
      fc.asyncProperty(sequenceOf(fc.tuple(fc.boolean(), fc.nat(6)), { maxLength: 40 }), async (sends) => {
        const undos: (() => unknown)[] = [];
        const pair = channels((undo) => undos.push(undo));
        const seen: string[][] = [[], []];
        const sent: string[][] = [[], []];
        const dones = pair.map(
          (channel, at) =>
            new Promise<void>((resolve) => {
              channel.on('hold', ({ listener: { name } }, incoming) => {
                seen[at]?.push(`${name}+${incoming.count}`);
              });
              channel.on('confirm', () => resolve());
            }),
        );
        sends.forEach(([toFar, count], i) => {
          pair[toFar ? 0 : 1]?.send(
            { type: 'hold', listener: listener(`n${i}`) },
            Array<number>(count).fill(file),
          );
          sent[toFar ? 1 : 0]?.push(`n${i}+${count}`);
        });
        for (const channel of pair) channel.send({ type: 'confirm' });
        await soon(Promise.all(dones), 'the last messages');
        for (const undo of undos) undo();
        assert.deepEqual(seen, sent);
      }),
      { numRuns: 50 },
    );
  });

  tidy('closes descriptors that no handler takes', async (later) => {
    const [near, far] = channels(later);
    const fds = files(later, ['a', 'b']);
    const before = openDescriptors();
    const seen = new Promise<number>((resolve) =>
      far.on('hold', (_message, incoming) => resolve(incoming.count)),
    );
    near.send({ type: 'hold', listener: listener('one') }, fds);
    assert.equal(await soon(seen, 'the message'), 2);
    await comesBackTo(before);
  });

  tidy('closes descriptors when a handler throws, and itself with what was thrown', async (later) => {
    const [near, far] = channels(later);
    const fds = files(later, ['a', 'b']);
    far.on('hold', () => {
      throw new MoultError('MOULT_NOT_EXPECTED', 'not now');
    });
    near.send({ type: 'hold', listener: listener('one') }, fds);
    assert.equal((await closing(far))?.code, 'MOULT_NOT_EXPECTED');
    assert.equal(await closing(near), undefined);
    assert.ok(near.isClosed && far.isClosed);
  });

  tidy('gives up at a handler that throws anything, and the process goes on', async (later) => {
    const [near, far] = channels(later);
    far.on('confirm', () => {
      throw undefined;
    });
    near.send({ type: 'confirm' });
    assert.ok((await closing(far)) instanceof MoultError);
  });

  tidy(
    'refuses a message that nobody handles at that moment, and closes what came with it',
    async (later) => {
      const [near, far] = channels(later);
      far.on('confirm', () => far.off('confirm'));
      near.send({ type: 'confirm' });
      near.send({ type: 'hold', listener: listener('one') }, files(later, ['a']));
      const reason = await closing(far);
      assert.equal(reason?.code, 'MOULT_PROTOCOL_ORDER');
      assert.match(reason?.message ?? '', /hold/);
    },
  );

  tidy('handles nothing that comes behind the message that closed it', async (later) => {
    const [near, far] = channels(later);
    let count = 0;
    far.on('confirm', () => {
      count += 1;
      far.close();
    });
    near.send({ type: 'confirm' });
    near.send({ type: 'confirm' });
    await closing(near);
    assert.equal(count, 1);
  });

  tidy('ends for both sides when one closes it, after what was sent before', async (later) => {
    const [near, far] = channels(later);
    const seen: string[] = [];
    far.on('release', ({ name }) => seen.push(name));
    for (const name of ['a', 'b', 'c']) near.send({ type: 'release', name });
    near.close();
    assert.equal(await closing(near), undefined);
    assert.equal(await closing(far), undefined);
    assert.deepEqual(seen, ['a', 'b', 'c']);
    near.send({ type: 'confirm' });
    near.close();
  });

  tidy('still brings descriptors that were sent before it closed', async (later) => {
    const [near, far] = channels(later);
    const [fd = -1] = files(later, ['last words']);
    const text = new Promise<string>((resolve) =>
      far.on('hold', (_message, incoming) => {
        const [taken = -1] = incoming.take();
        resolve(readFileSync(taken, 'utf8'));
        closeSync(taken);
      }),
    );
    near.send({ type: 'hold', listener: listener('one') }, [fd]);
    near.close();
    closeSync(fd);
    assert.equal(await soon(text, 'the message'), 'last words');
  });

  tidy('still brings descriptors that waited for room when it was closed', async (later) => {
    const { channel, peer, records } = bareChannel(later);
    const [fd = -1] = files(later, ['a']);
    let count = 0;
    // More records than the kernel takes: the last ones wait in the channel.
    for (; count < 1000; count += 1) channel.send({ type: 'hold', listener: listener(`${count}`) }, [fd]);
    channel.close();
    let isOver = false;
    peer.resume().once('close', () => {
      isOver = true;
    });
    let received = 0;
    await until(() => {
      for (;;) {
        const record = receiveDescriptors(records);
        if (record === undefined) break;
        for (const one of record.descriptors) closeDescriptor(one);
        received += 1;
      }
      return isOver;
    }, 'the end');
    assert.equal(received, count, 'what was sent before close still arrives');
  });

  tidy(
    'sends the file that it was given, also when that had to wait and its number came to mean another',
    async (later) => {
      const { channel, peer, records } = bareChannel(later);
      const [filler = -1, mine = -1] = files(later, ['filler', 'mine']);
      peer.resume();
      let sent = 0;
      // Fill what the kernel takes, so that the next one waits.
      for (; sent < 1000; sent += 1) channel.send({ type: 'hold', listener: listener(`${sent}`) }, [filler]);
      channel.send({ type: 'hold', listener: listener('mine') }, [mine]);
      closeSync(mine);
      const [other = -1] = files(later, ['somebody else']);
      assert.equal(other, mine, 'the number was used again');
      const texts: string[] = [];
      await until(() => {
        for (let record = receiveDescriptors(records); record; record = receiveDescriptors(records)) {
          for (const fd of record.descriptors) {
            // By its name, because all copies of the filler share one position.
            texts.push(readFileSync(`/proc/self/fd/${fd}`, 'utf8'));
            closeDescriptor(fd);
          }
        }
        return texts.length === sent + 1;
      }, 'the record that waited');
      assert.equal(texts.at(-1), 'mine');
    },
  );

  tidy('cuts a peer that stops reading', async (later) => {
    const { channel, peer } = bareChannel(later);
    peer.pause();
    const name = 'x'.repeat(500);
    let sent = 0;
    while (!channel.isClosed && sent < 200_000) {
      channel.send({ type: 'release', name });
      sent += 1;
    }
    assert.equal((await closing(channel))?.code, 'MOULT_PEER_TIMEOUT');
    assert.ok(sent * name.length < 32 * 1024 * 1024, `${sent} messages`);
    await eventOf(peer.resume(), 'close');
  });

  tidy('cuts a peer that stops taking descriptors', async (later) => {
    const { channel, peer } = bareChannel(later);
    peer.pause();
    const [fd = -1] = files(later, ['a']);
    const attachment = Buffer.alloc(64 * 1024);
    for (let sent = 0; sent < 1000 && !channel.isClosed; sent += 1) {
      // The first small, so that it is the records that are full.
      channel.send({ type: 'hold', listener: listener('a') }, [fd], sent < 500 ? undefined : attachment);
    }
    await turns(5);
    assert.ok(channel.isClosed, '32 MB wait for a peer that takes nothing');
  });

  tidy('goes on when a peer that took no descriptors takes them again', async (later) => {
    const { channel, peer, records } = bareChannel(later);
    const [fd = -1] = files(later, ['a']);
    const count = 500;
    for (let i = 0; i < count; i += 1) channel.send({ type: 'hold', listener: listener('a') }, [fd]);
    let received = 0;
    peer.resume();
    await until(() => {
      for (;;) {
        const record = receiveDescriptors(records);
        if (record === undefined) break;
        received += 1;
        assert.equal(record.tag, received);
        for (const one of record.descriptors) closeDescriptor(one);
      }
      return received === count;
    }, 'all records');
    assert.equal(channel.isClosed, false);
  });
});

describe('the next message', () => {
  tidy('is the one of the types that were named', async (later) => {
    const [near, far] = channels(later);
    const next = far.next(['result', 'refused'], 5000);
    near.send({ type: 'result', ok: true });
    assert.deepEqual(await next, { type: 'result', ok: true });
  });

  tidy('is waited for no longer than was said', async (later) => {
    const [, far] = channels(later);
    await assert.rejects(far.next(['result'], 10), {
      code: 'MOULT_PEER_TIMEOUT',
      message: /result within 10 ms/,
    });
    await assert.rejects(far.next(['result'], 0), { code: 'MOULT_PEER_TIMEOUT' });
  });

  tidy('does not come over a channel that closes, or has closed', async (later) => {
    const [near, far] = channels(later);
    const next = far.next(['result'], 60_000);
    near.close();
    await assert.rejects(next, { code: 'MOULT_PEER_CLOSED' });
    await assert.rejects(far.next(['result'], 60_000), { code: 'MOULT_PEER_CLOSED' });
  });

  tidy('that comes in the same chunk as the one before it is not lost', async (later) => {
    const { channel, peer } = bareChannel(later);
    const first = channel.next(['result'], 1000);
    const frames = [1, 2].map((n) => encodeFrame({ type: 'result', ok: true, value: { n } }));
    peer.write(Buffer.concat(frames));
    assert.deepEqual(await first, { type: 'result', ok: true, value: { n: 1 } });
    const outcome = await Promise.race([
      channel.next(['result'], 300).then(
        ({ value }) => value,
        (error) => error.code,
      ),
      channel.closed.then((reason) => reason?.code),
    ]);
    // Either it is still there, or it was out of order; it may not vanish.
    assert.notEqual(outcome, 'MOULT_PEER_TIMEOUT');
  });
});

function header(jsonBytes: number, attachmentBytes: number): Buffer {
  const buffer = Buffer.alloc(HEADER_BYTES);
  buffer.writeUInt32BE(jsonBytes, 0);
  buffer.writeUInt32BE(attachmentBytes, 4);
  return buffer;
}

describe('a channel to a peer that keeps no rules', () => {
  const wrong: readonly [string, Buffer, string][] = [
    ['an oversized frame', header(MAX_JSON_BYTES + 1, 0), 'MOULT_PROTOCOL_FRAME'],
    ['an empty frame', header(0, 0), 'MOULT_PROTOCOL_FRAME'],
    ['a frame that is not JSON', Buffer.concat([header(3, 0), Buffer.from('{x}')]), 'MOULT_PROTOCOL_FRAME'],
    ['a frame without a type', encodeFrame({ kind: 'hold' }), 'MOULT_PROTOCOL_FRAME'],
    ['a message of an unknown type', encodeFrame({ type: 'surprise' }), 'MOULT_PROTOCOL_FRAME'],
    ['a message with a wrong field', encodeFrame({ type: 'release', name: 7 }), 'MOULT_PROTOCOL_FRAME'],
    ['a message out of order', encodeFrame({ type: 'commit', epoch: 1 }), 'MOULT_PROTOCOL_ORDER'],
    [
      'a message that speaks of descriptors that did not come',
      encodeFrame({ type: 'release', name: 'a', descriptors: 1 }),
      'MOULT_DESCRIPTORS',
    ],
    [
      'a message that speaks of descriptors in a word',
      encodeFrame({ type: 'release', name: 'a', descriptors: 'many' }),
      'MOULT_DESCRIPTORS',
    ],
  ];
  for (const [what, bytes, code] of wrong) {
    for (const withDescriptors of [false, true]) {
      tidy(
        `closes with ${code} at ${what}${withDescriptors ? ' that came with descriptors' : ''}`,
        async (later) => {
          const { channel, peer, records } = bareChannel(later);
          channel.on('release', () => {});
          if (withDescriptors) sendDescriptors(records, 99, files(later, ['a', 'b', 'c']));
          peer.write(bytes);
          assert.equal((await closing(channel))?.code, code);
        },
      );
    }
  }

  for (const [what, tag, announced, sent] of [
    ['another tag', 2, 1, 1],
    ['fewer descriptors than announced', 1, 3, 2],
    ['more descriptors than announced', 1, 1, 2],
  ] as const) {
    tidy(`closes with MOULT_DESCRIPTORS at a record with ${what}, and keeps none of them`, async (later) => {
      const { channel, peer, records } = bareChannel(later);
      channel.on('release', () => {});
      sendDescriptors(records, tag, files(later, ['a', 'b', 'c'].slice(0, sent)));
      peer.write(encodeFrame({ type: 'release', name: 'a', descriptors: announced }));
      assert.equal((await closing(channel))?.code, 'MOULT_DESCRIPTORS');
    });
  }

  for (const length of [3, HEADER_BYTES, HEADER_BYTES + 5]) {
    tidy(
      `closes with MOULT_PROTOCOL_FRAME when the peer ends after ${length} bytes of a frame`,
      async (later) => {
        const { channel, peer } = bareChannel(later);
        peer.end(encodeFrame({ type: 'release', name: 'a' }).subarray(0, length));
        assert.equal((await closing(channel))?.code, 'MOULT_PROTOCOL_FRAME');
      },
    );
  }

  tidy('closes what it has not read of the records when it closes', async (later) => {
    const { channel, records } = bareChannel(later);
    const [end, other] = streamSocketPair();
    for (let tag = 1; tag < 5; tag += 1) sendDescriptors(records, tag, [end]);
    closeDescriptor(end);
    channel.close();
    await closing(channel);
    const { Socket } = await import('node:net');
    // Its other end ends once no copy is open anywhere.
    const socket = new Socket({ fd: other, readable: true, writable: true });
    await eventOf(socket.resume(), 'close');
  });

  tidy('survives whatever comes, and keeps nothing of it', async (later) => {
    const fds = files(later, ['a', 'b', 'c', 'd']);
    const bytes = fc.uint8Array({ maxLength: 60 }).map((array) => Buffer.from(array));
    const typed = fc
      .record({
        type: fc.constantFrom('hold', 'release', 'connections', 'hello', 'nonsense', 'result'),
        name: fc.jsonValue(),
        listener: fc.oneof(fc.jsonValue(), fc.constant(listener('a'))),
        descriptors: fc.option(fc.oneof(fc.nat(4), fc.jsonValue()), { nil: undefined }),
      })
      .map((message) => encodeFrame(message));
    const step = fc.oneof(
      bytes.map((chunk) => ({ chunk, tag: undefined, count: 0 })),
      typed.map((chunk) => ({ chunk, tag: undefined, count: 0 })),
      fc.record({
        chunk: fc.constant(Buffer.alloc(0)),
        tag: fc.option(fc.nat(5), { nil: undefined }),
        count: fc.nat(4),
      }),
    );
    const before = openDescriptors();
    await fc.assert(
      fc.asyncProperty(sequenceOf(step, { maxLength: 12 }), fc.boolean(), async (steps, takes) => {
        const undos: (() => unknown)[] = [];
        const { channel, peer, records } = bareChannel((undo) => undos.push(undo));
        channel.on('release', () => {});
        channel.on('hold', (_message, incoming) => {
          if (takes) for (const fd of incoming.take()) closeDescriptor(fd);
        });
        let tag = 0;
        for (const { chunk, tag: forced, count } of steps) {
          try {
            if (count > 0) sendDescriptors(records, forced ?? ++tag, fds.slice(0, count));
          } catch {
            // The channel has closed already.
          }
          if (chunk.length > 0) peer.write(chunk);
        }
        peer.end();
        const reason = await closing(channel);
        assert.ok(reason === undefined || reason instanceof MoultError);
        for (const undo of undos.reverse()) undo();
      }),
      { numRuns: 300 },
    );
    await comesBackTo(before);
  });
});

describe('a channel where no more descriptors may be open', () => {
  tidy('leaves no copy open of those for which there was no room', async (later) => {
    const child = fixture(later, 'channel-without-room.mjs', [], { maxDescriptors: 400 });
    assert.deepEqual(await child.says(), { code: 'MOULT_SYSTEM_CALL', left: 0 });
  });
});
