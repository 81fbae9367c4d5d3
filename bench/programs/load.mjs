// A load of raw sockets, as cheap as it can be made, that also reads the CPU time of the processes it loads at
// the edges of the measured stretch. Whatever is not the expected whole response ends the measurement.
import { createConnection } from 'node:net';
import { cpuMs } from '../measure/processes.mjs';

const REQUEST = 'GET / HTTP/1.1\r\nHost: bench\r\n\r\n';
const LAST_REQUEST = 'GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n';

/**
 * @typedef {{ kind: 'kept-alive' | 'new', port: number, connections: number, warmUpMs: number,
 *   measureMs: number, pids: number[] }} Order
 */

/** @param {Order} order */
async function measure(order) {
  const state = { answered: 0, isOver: false, /** @type {Error | undefined} */ failure: undefined };
  const one = order.kind === 'new' ? newConnections : keptAlive;
  const clients = Array.from({ length: order.connections }, () =>
    one(order.port, state).catch((error) => {
      state.failure ??= error;
    }),
  );
  await after(order.warmUpMs);
  const before = { answered: state.answered, cpu: order.pids.map(cpuMs), at: performance.now() };
  await after(order.measureMs);
  const ms = performance.now() - before.at;
  const cpu = order.pids.map((pid, i) => cpuMs(pid) - (before.cpu[i] ?? 0));
  const answered = state.answered - before.answered;
  state.isOver = true;
  await Promise.all(clients);
  if (state.failure !== undefined) throw state.failure;
  return { answered, ms, cpuMs: cpu };
}

/** @param {number} ms */
const after = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** One connection, one request at a time, no pause. @returns {Promise<void>} */
function keptAlive(port, state) {
  return new Promise((resolve, reject) => {
    const reader = new ResponseLength();
    const socket = createConnection({ port, host: '127.0.0.1', noDelay: true });
    socket.on('connect', () => socket.write(REQUEST));
    socket.on('data', (chunk) => {
      try {
        if (!reader.add(chunk)) return;
      } catch (error) {
        reject(error);
        socket.destroy();
        return;
      }
      state.answered += 1;
      if (!state.isOver) socket.write(REQUEST);
      else {
        resolve();
        socket.destroy();
      }
    });
    socket.on('error', reject);
    socket.on('close', () => reject(new Error('the service closed a kept-alive connection')));
  });
}

/** A connection for each request, one after the other. */
async function newConnections(port, state) {
  while (!state.isOver) {
    await new Promise((resolve, reject) => {
      const reader = new ResponseLength();
      let isWhole = false;
      const socket = createConnection({ port, host: '127.0.0.1', noDelay: true });
      socket.on('connect', () => socket.write(LAST_REQUEST));
      socket.on('data', (chunk) => {
        try {
          isWhole = reader.add(chunk);
        } catch (error) {
          reject(error);
          socket.destroy();
        }
      });
      socket.on('error', reject);
      socket.on('close', () => {
        if (!isWhole) reject(new Error('the service closed a connection before its response was whole'));
        state.answered += 1;
        resolve(undefined);
      });
    });
  }
}

/** Knows when a response is whole: all that a connection gets are of one length. */
class ResponseLength {
  #length = 0;
  #got = 0;
  #head = Buffer.alloc(0);

  /** @param {Buffer} chunk @returns {boolean} whether it ends a response */
  add(chunk) {
    if (this.#got === 0 && chunk[9] !== 0x32) {
      throw new Error(`expected status 2xx, received ${chunk.toString('latin1', 0, 40)}`);
    }
    this.#got += chunk.length;
    if (this.#length === 0) this.#learn(chunk);
    if (this.#length === 0 || this.#got < this.#length) return false;
    if (this.#got > this.#length) throw new Error('received more than one response');
    this.#got = 0;
    return true;
  }

  #learn(chunk) {
    this.#head = Buffer.concat([this.#head, chunk]);
    const end = this.#head.indexOf('\r\n\r\n');
    if (end < 0) return;
    const length = /content-length: (\d+)/i.exec(this.#head.toString('latin1', 0, end))?.[1];
    this.#length = end + 4 + Number(length);
  }
}

process.on('message', (order) => {
  measure(/** @type {Order} */ (order)).then(
    (result) => process.send?.(result),
    (error) => process.send?.({ error: error.message }),
  );
});
process.on('disconnect', () => process.exit(0));
