import { once } from 'node:events';
import { connect as connectPlain } from 'node:net';
import { Duplex } from 'node:stream';
import { connect } from 'node:tls';

/** A connection over TLS that can stop in the middle of the record that it sends, at any byte, for as long as it likes. */
export class CuttingClient {
  #id;
  #cut;
  #socket;
  #asked = 0;
  #text = '';
  #answered = () => {};
  #failed = () => {};

  constructor(id, port) {
    this.#id = id;
    this.#cut = new Cut(connectPlain(port, '127.0.0.1'));
    this.#socket = connect({ socket: this.#cut, rejectUnauthorized: false });
    this.#socket.setEncoding('latin1').on('data', (text) => this.#read(text));
    this.#socket.on('error', (error) => this.#failed(error));
    this.#socket.on('close', () => this.#failed(new Error('the connection was closed')));
  }

  /** Opens it, and asks once. */
  async open() {
    await once(this.#socket, 'secureConnect');
    await this.ask();
    return this;
  }

  /**
   * Asks; the record of the request goes out up to this byte, and the rest at {@link goOn}.
   * @returns settles when the right answer has come.
   */
  ask(upTo = Number.POSITIVE_INFINITY) {
    this.#cut.limit = upTo;
    const id = this.#idOf(this.#asked);
    const answered = new Promise((resolve, reject) => {
      this.#answered = resolve;
      this.#failed = (error) => reject(new Error(`${id}, cut at ${upTo}: ${error.message}`));
    });
    this.#socket.write(`GET / HTTP/1.1\r\nHost: a\r\nx-moult-id: ${id}\r\n\r\n`);
    return answered;
  }

  /** Sends the rest. */
  goOn() {
    this.#cut.goOn();
  }

  close() {
    this.#failed = () => {};
    this.#socket.destroy();
    this.#cut.destroy();
  }

  /** Of one length, so that all records are equally long. */
  #idOf(number) {
    return `${String(this.#id).padStart(4, '0')}-${String(number).padStart(5, '0')}`;
  }

  #read(text) {
    this.#text += text;
    const head = this.#text.indexOf('\r\n\r\n');
    if (head < 0) return;
    const length = Number(/content-length: (\d+)/i.exec(this.#text)?.[1]);
    if (this.#text.length < head + 4 + length) return;
    const body = JSON.parse(this.#text.slice(head + 4, head + 4 + length));
    this.#text = this.#text.slice(head + 4 + length);
    if (body.id !== this.#idOf(this.#asked)) this.#failed(new Error(`was answered for ${body.id}`));
    this.#asked += 1;
    this.#answered();
  }
}

/** A request of {@link CuttingClient} is a record of so many bytes: header, request, type and tag. */
export const REQUEST_RECORD_BYTES =
  5 + 'GET / HTTP/1.1\r\nHost: a\r\nx-moult-id: 0000-00000\r\n\r\n'.length + 17;

class Cut extends Duplex {
  limit = Number.POSITIVE_INFINITY;
  #raw;
  #held = [];

  constructor(raw) {
    super();
    this.#raw = raw;
    raw.on('data', (bytes) => this.push(bytes));
    raw.on('end', () => this.push(null));
    raw.on('error', (error) => this.destroy(error));
    raw.on('close', () => this.destroy());
  }

  goOn() {
    this.limit = Number.POSITIVE_INFINITY;
    for (const bytes of this.#held.splice(0)) this.#raw.write(bytes);
  }

  _read() {}

  _write(bytes, _encoding, done) {
    const now = bytes.subarray(0, Math.min(bytes.length, this.limit));
    this.limit -= now.length;
    if (now.length > 0) this.#raw.write(now);
    if (now.length < bytes.length) this.#held.push(Buffer.from(bytes.subarray(now.length)));
    done();
  }

  _destroy(error, done) {
    this.#raw.destroy();
    done(error);
  }
}
