import assert from 'node:assert/strict';
import { closeSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe } from 'node:test';
import { MoultError } from '#moult/errors.js';
import { closeDescriptor } from '#moult/os/descriptors/descriptor.js';
import { sendDescriptors } from '#moult/os/sockets/descriptor-socket.js';
import { encodeFrame } from '#moult/protocol/frame.js';
import type { ListenerItem } from '#moult/protocol/messages.js';
import { comesBackTo, openDescriptors, whatIs } from '../support/descriptors.js';
import { soon } from '../support/events.js';
import fc from '../support/fast-check.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { type Later, tidy } from '../support/tidy.js';
import { bareChannel, channels } from './pair.js';

const listener = (name: string): ListenerItem => ({ name, family: 'unix', backlog: 511, path: null });

/** So many open files of their own; the names of two of them tell which came where. */
function files(later: Later, count: number): number[] {
  const folder = temporaryFolder(later);
  return Array.from({ length: count }, (_, n) => {
    const path = join(folder, `file-${n}`);
    writeFileSync(path, '');
    const fd = openSync(path, 'r');
    later(() => closeSync(fd));
    return fd;
  });
}

describe('a channel', () => {
  tidy(
    'brings messages that are too large for one frame, each descriptor in its place, in the order of all messages',
    async (later) => {
      const own = files(later, 40);
      await fc.assert(
        fc.asyncProperty(
          fc.array(fc.tuple(fc.integer({ min: 0, max: 800 }), fc.boolean()), { minLength: 1, maxLength: 5 }),
          async (sends) => {
            const undos: (() => unknown)[] = [];
            const [near, far] = channels((undo) => undos.push(undo));
            const seen: string[] = [];
            const done = new Promise<void>((resolve) => {
              far.on('inherit', ({ listeners }, incoming) => {
                const fds = incoming.take();
                const isRight = fds.every((fd, at) => whatIs(fd).endsWith(`/file-${at % own.length}`));
                for (const fd of fds) closeDescriptor(fd);
                seen.push(`${listeners.length} ${fds.length} ${isRight} ${incoming.attachment.toString()}`);
              });
              far.on('release', ({ name }) => seen.push(name));
              far.on('confirm', () => resolve());
            });
            const sent: string[] = [];
            for (const [count, isLong] of sends) {
              const descriptors = Array.from({ length: count }, (_, at) => own[at % own.length] ?? -1);
              // Over 1 MiB where it is long.
              const listeners = Array.from({ length: isLong ? 9_000 : count }, (_, n) =>
                listener(`n${n}`.padEnd(100, 'x')),
              );
              near.send({ type: 'inherit', epoch: 1, listeners }, descriptors, Buffer.from('beside'));
              near.send({ type: 'release', name: 'between' });
              sent.push(`${listeners.length} ${count} true beside`, 'between');
            }
            near.send({ type: 'confirm' });
            await soon(done, 'the last message');
            for (const undo of undos) undo();
            assert.deepEqual(seen, sent);
          },
        ),
        { numRuns: 12 },
      );
    },
  );

  tidy('closes the descriptors of a message that stops in the middle', async (later) => {
    const own = files(later, 2);
    const before = openDescriptors();
    const { channel, peer, records } = bareChannel(later);
    const with2 = openDescriptors().length;
    for (const tag of [1, 2, 3]) {
      assert.ok(sendDescriptors(records, tag, own));
      peer.write(encodeFrame({ type: 'part', descriptors: 2 }, Buffer.from('{"type')));
    }
    await soon(
      (async () => {
        while (openDescriptors().length < with2 + 6) await new Promise((resolve) => setImmediate(resolve));
      })(),
      'they have come',
    );
    peer.end();
    const reason = await soon(channel.closed, 'the end');
    assert.equal(reason?.code, 'MOULT_PROTOCOL_FRAME');
    closeDescriptor(records);
    await comesBackTo(before);
  });

  tidy('sends nothing of a message for which the other side is too old, and goes on', async (later) => {
    const [near, far] = channels(later);
    near.takesParts = false;
    const [own = -1] = files(later, 1);
    const listeners = Array.from({ length: 300 }, (_, n) => listener(`n${n}`));
    const fds = Array<number>(300).fill(own);
    assert.throws(
      () => near.send({ type: 'inherit', epoch: 1, listeners }, fds),
      (error: unknown) => {
        assert.ok(error instanceof MoultError);
        assert.equal(error.code, 'MOULT_TOO_LARGE');
        assert.match(error.message, /300 listeners/);
        return true;
      },
    );
    const seen = new Promise<number>((resolve) =>
      far.on('inherit', (message, incoming) => resolve(message.listeners.length + incoming.count)),
    );
    near.send({ type: 'inherit', epoch: 1, listeners: listeners.slice(0, 253) }, fds.slice(0, 253));
    assert.equal(await soon(seen, 'the next message'), 506);
  });
});
