// Holds WebSockets, some of which send a message again and again and wait for its echo; tells how long that took.
import { createConnection } from 'node:net';

const UPGRADE =
  'GET / HTTP/1.1\r\nHost: bench\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n' +
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n';
/** So many connect at once: a crowd would only measure the backlog. */
const AT_ONCE = 64;
/** An active one rests for about so long between an echo and its next message. */
const REST_MS = 100;

/** @type {Set<Client>} */
const clients = new Set();
let closed = 0;

class Client {
  #socket;
  #rest = Buffer.alloc(0);
  /** @type {(() => void) | undefined} */
  #heard;
  #number = 0;
  /** The longest wait for an echo since the last look, and all of them. */
  longestMs = 0;
  /** @type {number[]} */
  waitsMs = [];

  /** @param {number} port */
  constructor(port) {
    this.#socket = createConnection({ port, host: '127.0.0.1' });
    this.#socket.on('error', () => {});
    this.#socket.on('close', () => {
      if (clients.delete(this)) closed += 1;
    });
    clients.add(this);
  }

  /** @returns {Promise<void>} */
  open() {
    return new Promise((resolve, reject) => {
      const socket = this.#socket;
      socket.once('error', reject);
      socket.once('connect', () => socket.write(UPGRADE));
      let head = '';
      const take = (/** @type {Buffer} */ chunk) => {
        head += chunk.toString('latin1');
        if (!head.includes('\r\n\r\n')) return;
        socket.off('data', take);
        socket.on('data', (more) => this.#take(more));
        if (head.startsWith('HTTP/1.1 101')) resolve();
        else reject(new Error(head.slice(0, 40)));
      };
      socket.on('data', take);
    });
  }

  async talk() {
    while (clients.has(this)) {
      const beganAt = performance.now();
      await this.#echo();
      const took = performance.now() - beganAt;
      this.waitsMs.push(took);
      this.longestMs = Math.max(this.longestMs, took);
      await new Promise((resolve) => setTimeout(resolve, REST_MS * (0.5 + Math.random())));
    }
  }

  end() {
    clients.delete(this);
    this.#socket.resetAndDestroy();
  }

  /** @returns {Promise<void>} */
  #echo() {
    this.#number += 1;
    const text = Buffer.from(String(this.#number).padStart(8, '0'));
    // A final text frame with a mask of zeros, which changes nothing.
    this.#socket.write(Buffer.concat([Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0]), text]));
    return new Promise((resolve) => {
      this.#heard = resolve;
    });
  }

  /** @param {Buffer} chunk */
  #take(chunk) {
    this.#rest = Buffer.concat([this.#rest, chunk]);
    while (this.#rest.length >= 2 && this.#rest.length >= 2 + this.#rest[1]) {
      const text = this.#rest.toString('latin1', 2, 2 + this.#rest[1]);
      this.#rest = this.#rest.subarray(2 + this.#rest[1]);
      if (Number(text) !== this.#number) throw new Error(`expected ${this.#number}, received ${text}`);
      this.#heard?.();
    }
  }
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
  /** @param {{ port: number, count: number, active: number }} order */
  async open({ port, count, active }) {
    await each(Array.from({ length: count }), () => new Client(port).open());
    for (const client of [...clients].slice(0, active)) client.talk();
    return {};
  },
  /** What was waited since the last look: each wait, and of each client the longest. */
  async look() {
    const talking = [...clients].filter(({ waitsMs }) => waitsMs.length > 0);
    const waitsMs = talking.flatMap((client) => client.waitsMs);
    const longestMs = talking.map((client) => client.longestMs);
    for (const client of talking) {
      client.waitsMs = [];
      client.longestMs = 0;
    }
    return { waitsMs, longestMs };
  },
  async close() {
    for (const client of clients) client.end();
    closed = 0;
    return {};
  },
};

process.on('message', (order) => {
  const { type, ...rest } = /** @type {any} */ (order);
  answers[/** @type {keyof typeof answers} */ (type)](rest).then(
    (found) => process.send?.({ open: clients.size, closed, ...found }),
    (/** @type {Error} */ error) => process.send?.({ error: error.message }),
  );
});
process.on('disconnect', () => process.exit(0));
