// Holds connections that have made a request and idle now, and tells whether they are still what they were.
import { createConnection } from 'node:net';

const REQUEST = 'GET / HTTP/1.1\r\nHost: bench\r\n\r\n';
/** So many connect or ask at once: a crowd would only measure the backlog. */
const AT_ONCE = 64;

/** @type {Set<import('node:net').Socket>} */
const sockets = new Set();
let closed = 0;

/** @param {number} port @returns {Promise<void>} */
function open(port) {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ port, host: '127.0.0.1' });
    socket.once('connect', resolve);
    socket.once('error', reject);
    socket.on('error', () => {});
    socket.on('close', () => {
      if (sockets.delete(socket)) closed += 1;
    });
    sockets.add(socket);
  });
}

/** @param {import('node:net').Socket} socket @returns {Promise<void>} */
function request(socket) {
  return new Promise((resolve, reject) => {
    let text = '';
    const gone = () => reject(new Error('a connection was closed before its response'));
    const take = (/** @type {Buffer} */ chunk) => {
      text += chunk.toString('latin1');
      const end = text.indexOf('\r\n\r\n');
      const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? Number.NaN);
      if (end < 0 || text.length < end + 4 + length) return;
      socket.off('data', take).off('close', gone);
      if (text.startsWith('HTTP/1.1 200')) resolve();
      else reject(new Error(`expected 200, received ${text.slice(0, 40)}`));
    };
    socket.on('data', take).once('close', gone);
    socket.write(REQUEST);
  });
}

/** @template T @param {readonly T[]} all @param {(one: T) => Promise<void>} act */
async function each(all, act) {
  const rest = all.values();
  const worker = async () => {
    for (const one of rest) await act(one);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
}

const answers = {
  /** @param {{ port: number, count: number }} order */
  async open({ port, count }) {
    await each(Array.from({ length: count }), () => open(port));
  },
  async request() {
    await each([...sockets], request);
  },
  // With a reset: connections that end in order would keep their ports for a minute.
  async close() {
    for (const socket of sockets) {
      sockets.delete(socket);
      socket.resetAndDestroy();
    }
    closed = 0;
  },
};

process.on('message', (order) => {
  const { type, ...rest } = /** @type {{ type: keyof typeof answers, port: number, count: number }} */ (
    order
  );
  answers[type](rest).then(
    () => process.send?.({ open: sockets.size, closed }),
    (error) => process.send?.({ error: error.message }),
  );
});
process.on('disconnect', () => process.exit(0));
