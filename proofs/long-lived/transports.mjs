// How clients of the proof speak: each transport sends whole texts, in its own way, and gives those that come.
import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import { io } from 'socket.io-client';
import { WebSocket } from 'ws';
import { dial } from './dial.mjs';

const LONGEST_PAUSE_MS = 25;
/** What is slow is not lost. */
const ACKNOWLEDGED_WITHIN_MS = 120_000;

/** @param {string} text @param {number} parts */
function cut(text, parts) {
  const cuts = Array.from({ length: parts - 1 }, () => Math.floor(Math.random() * (text.length + 1))).sort(
    (a, b) => a - b,
  );
  return [...cuts, text.length].map((end, i) => text.slice(i === 0 ? 0 : cuts[i - 1], end));
}

const aWhile = () => pause(Math.random() * LONGEST_PAUSE_MS);

/** A client of the ws library. */
class Library {
  /** @param {(data: string) => string} [frame] and its inverse: how texts are sent, and read. */
  constructor({ port, id, path, deflate, fragments, frame, unframe, isSecure }, heard) {
    this.fragments = fragments;
    this.frame = frame ?? String;
    this.ws = new WebSocket(`${isSecure ? 'wss' : 'ws'}://127.0.0.1:${port}${path ?? '/'}?id=${id}`, {
      perMessageDeflate: deflate,
      rejectUnauthorized: false,
    });
    this.ws.on('message', (data) => heard.text((unframe ?? String)(data.toString())));
    this.ws.on('close', (code) => heard.end(`closed with ${code}`));
    this.ws.on('error', (error) => heard.end(String(error)));
  }

  open() {
    return once(this.ws, 'open');
  }

  async send(text) {
    const message = this.frame(text);
    const parts = this.fragments === 1 ? [message] : cut(message, this.fragments);
    for (const [i, part] of parts.entries()) {
      if (i > 0) await aWhile();
      this.ws.send(part, { fin: i === parts.length - 1 });
    }
  }

  close() {
    this.ws.removeAllListeners();
    this.ws.terminate();
  }
}

/** A client that writes its bytes in pieces, and rests between them. */
class Piecemeal {
  constructor({ port, socketPath, isLocal, isSecure }, heard) {
    const where = isLocal ? { path: socketPath } : { port, host: '127.0.0.1', noDelay: true };
    ({ socket: this.socket, opened: this.opened } = dial(where, isSecure));
    this.socket.on('close', () => heard.end('closed'));
    this.socket.on('error', (error) => heard.end(String(error)));
  }

  async write(bytes) {
    const first = Math.min(bytes.length, 1 + Math.floor(Math.random() * 14));
    const second = first + Math.floor(Math.random() * (bytes.length - first));
    for (const [from, to] of [
      [0, first],
      [first, second],
      [second, bytes.length],
    ]) {
      if (to > from) this.socket.write(bytes.subarray(from, to));
      await aWhile();
    }
  }

  close() {
    this.socket.removeAllListeners();
    this.socket.destroy();
  }
}

/** A WebSocket client that knows no library: frames are cut anywhere. */
class Frames extends Piecemeal {
  constructor(options, heard) {
    super(options, heard);
    this.id = options.id;
    this.heard = heard;
    this.bytes = Buffer.alloc(0);
    this.isUpgraded = false;
    // From the beginning: the first frame may come right behind the response, as an event of its own.
    this.upgraded = new Promise((resolve) => {
      this.socket.on('data', (chunk) => {
        this.bytes = Buffer.concat([this.bytes, chunk]);
        if (!this.isUpgraded && this.takeHead()) resolve();
        while (this.isUpgraded && this.take());
      });
    });
  }

  async open() {
    await this.opened;
    this.socket.write(
      `GET /?id=${this.id} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
        'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
    );
    await this.upgraded;
  }

  takeHead() {
    const end = this.bytes.indexOf('\r\n\r\n');
    if (end === -1) return false;
    this.bytes = this.bytes.subarray(end + 4);
    this.isUpgraded = true;
    return true;
  }

  take() {
    const { bytes } = this;
    if (bytes.length < 2) return false;
    const short = bytes[1] & 0x7f;
    const begin = short === 127 ? 10 : short === 126 ? 4 : 2;
    if (bytes.length < begin) return false;
    const length =
      short === 127 ? Number(bytes.readBigUInt64BE(2)) : short === 126 ? bytes.readUInt16BE(2) : short;
    if (bytes.length < begin + length) return false;
    if (bytes[0] === 0x81) this.heard.text(bytes.toString('utf8', begin, begin + length));
    else this.heard.end(`a frame that begins with ${bytes[0]}`);
    this.bytes = bytes.subarray(begin + length);
    return true;
  }

  send(text) {
    const data = Buffer.from(text);
    const long = data.length > 65_535 ? 8 : data.length > 125 ? 2 : 0;
    const header = Buffer.alloc(6 + long);
    header[0] = 0x81;
    header[1] = 0x80 | (long === 8 ? 127 : long === 2 ? 126 : data.length);
    if (long === 2) header.writeUInt16BE(data.length, 2);
    if (long === 8) header.writeBigUInt64BE(BigInt(data.length), 2);
    const mask = Buffer.from([1, 2, 3, 4]);
    mask.copy(header, 2 + long);
    return this.write(Buffer.concat([header, data.map((byte, i) => byte ^ mask[i % 4])]));
  }
}

/** A client of the line protocol. */
class Lines extends Piecemeal {
  constructor(options, heard) {
    super(options, heard);
    this.id = options.id;
    let rest = '';
    this.socket.setEncoding('latin1').on('data', (chunk) => {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) heard.text(line);
    });
  }

  async open() {
    await this.opened;
    this.socket.write(`${this.id}\n`);
  }

  send(text) {
    return this.write(Buffer.from(`${text}\n`));
  }
}

/** A client of Socket.IO's own library, that would not come again by itself. */
class SocketIo {
  constructor({ port, id, namespace, acknowledged, binary, isSecure, ...options }, heard) {
    this.acknowledged = acknowledged;
    this.binary = binary;
    this.heard = heard;
    this.socket = io(`${isSecure ? 'https' : 'http'}://127.0.0.1:${port}${namespace ?? '/'}`, {
      rejectUnauthorized: false,
      transports: ['websocket'],
      path: '/plain',
      auth: { id },
      reconnection: false,
      forceNew: true,
      ...options,
    });
    this.socket.on('text', (text) => heard.text(text));
    this.socket.on('push', (numbers) => {
      if (numbers[id] !== undefined) heard.text(`p ${numbers[id]}`);
    });
    this.socket.on('disconnect', (reason) => heard.end(`disconnected: ${reason}`));
    this.socket.on('connect_error', (error) => heard.end(String(error)));
  }

  open() {
    return once(this.socket, 'connect');
  }

  async send(text) {
    const message = this.binary ? Buffer.from(text) : text;
    if (!this.acknowledged) this.socket.emit('text', message);
    else if ((await this.socket.timeout(ACKNOWLEDGED_WITHIN_MS).emitWithAck('text', message)) !== text.length)
      this.heard.end('acknowledged wrongly');
  }

  close() {
    this.socket.removeAllListeners();
    this.socket.disconnect();
  }
}

const plain = (more) => ({
  plain: (options, heard) => new Library({ ...options, deflate: false, fragments: 1, ...more }, heard),
  fragments: (options, heard) => new Library({ ...options, deflate: false, fragments: 3, ...more }, heard),
});

/** The ways of speaking with each service, by name; clients take turns. */
export const transports = {
  websockets: {
    plain: (options, heard) => new Library({ ...options, deflate: false, fragments: 1 }, heard),
    fragments: (options, heard) => new Library({ ...options, deflate: false, fragments: 3 }, heard),
    compressed: (options, heard) =>
      new Library({ ...options, deflate: { threshold: 0 }, fragments: 1 }, heard),
    'compressed fragments': (options, heard) =>
      new Library({ ...options, deflate: { threshold: 0 }, fragments: 3 }, heard),
    'no takeover': (options, heard) =>
      new Library(
        {
          ...options,
          deflate: { threshold: 0, serverNoContextTakeover: true, clientNoContextTakeover: true },
          fragments: 1,
        },
        heard,
      ),
    'half-written': (options, heard) => new Frames(options, heard),
  },
  'socket.io': {
    plain: (options, heard) => new SocketIo(options, heard),
    compressed: (options, heard) => new SocketIo({ ...options, path: '/compressed' }, heard),
    'another namespace': (options, heard) => new SocketIo({ ...options, namespace: '/other' }, heard),
    acknowledged: (options, heard) => new SocketIo({ ...options, acknowledged: true }, heard),
    binary: (options, heard) => new SocketIo({ ...options, binary: true }, heard),
    'binary, compressed': (options, heard) =>
      new SocketIo({ ...options, binary: true, path: '/compressed', namespace: '/other' }, heard),
  },
  'express-ws': plain({}),
  'fastify-websocket': plain({ path: '/talk' }),
  'nest-ws': plain({
    frame: (data) => JSON.stringify({ event: 'text', data }),
    unframe: (text) => JSON.parse(text).data,
  }),
  'nest-socket.io': { plain: (options, heard) => new SocketIo(options, heard) },
  lines: {
    'half-written': (options, heard) => new Lines(options, heard),
    'half-written, Unix socket': (options, heard) => new Lines({ ...options, isLocal: true }, heard),
  },
};
