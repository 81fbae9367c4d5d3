// The bare loop, giving side: accepts connections, then passes their descriptors in batches of 253 and destroys its
// own socket objects. The same system calls as moult's, and no protocol at all.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { monotonicMs } from '../../dist/os/clock.js';
import { closeDescriptor } from '../../dist/os/descriptors/descriptor.js';
import { descriptorSocketPair, sendDescriptors } from '../../dist/os/sockets/descriptor-socket.js';
import { program } from '../measure/processes.mjs';

const BATCH = 253;

/** @type {import('node:net').Socket[]} */
const accepted = [];
const server = createServer((socket) => {
  socket.on('error', () => {});
  // As a client that has made a request: something was read and written.
  socket.once('data', () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'));
  accepted.push(socket);
});
server.listen(0, '127.0.0.1', 1024);

const [near, far] = descriptorSocketPair();
const taker = spawn(process.execPath, [program('bare-taker.mjs')], {
  stdio: ['ignore', 'inherit', 'inherit', far, 'pipe', 'ipc'],
});
closeDescriptor(far);
const wake = /** @type {import('node:stream').Writable} */ (taker.stdio[4]);

/** Passes all of them. @returns {Promise<number>} when the last of our own objects was closed */
async function pass() {
  let next = 0;
  let isClosed = accepted.length;
  /** @type {(at: number) => void} */
  let done = () => {};
  const closed = new Promise((resolve) => {
    done = resolve;
  });
  const turn = () => {
    const batch = accepted.slice(next, next + BATCH);
    const descriptors = batch.map((socket) => /** @type {any} */ (socket)._handle.fd);
    if (sendDescriptors(near, 0, descriptors)) {
      wake.write('.');
      next += batch.length;
      for (const socket of batch) {
        socket.once('close', () => {
          isClosed -= 1;
          if (isClosed === 0) done(monotonicMs());
        });
        socket.destroy();
      }
    }
    if (next < accepted.length) setImmediate(turn);
  };
  turn();
  return closed;
}

process.on('message', async (order) => {
  const { type, count } = /** @type {{ type: 'port' | 'pass', count: number }} */ (order);
  if (type === 'port') {
    if (!server.listening) await once(server, 'listening');
    const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
    process.send?.({ port });
    return;
  }
  if (accepted.length !== count) {
    process.send?.({ error: `accepted ${accepted.length} of ${count}` });
    return;
  }
  taker.send({ count });
  await once(taker, 'message');
  const taken = once(taker, 'message');
  const beganAt = monotonicMs();
  const closedAt = await pass();
  const [{ at }] = await taken;
  process.send?.({ ms: Math.max(at, closedAt) - beganAt });
});
process.on('disconnect', () => {
  taker.kill('SIGKILL');
  process.exit(0);
});
