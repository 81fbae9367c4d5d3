// How clients of the proof follow a stream of events: each over one connection, which is never made anew.
import { once } from 'node:events';
import { Agent, get } from 'node:http';
import https from 'node:https';
import { dial } from './dial.mjs';

const LONGEST_REST_MS = 500;

/** A client of HTTP/1.1. */
class Stream {
  constructor({ port, id, isSlow = false, isInParts = false, isSecure }, heard) {
    this.get = isSecure ? https.get : get;
    this.heard = heard;
    this.isSlow = isSlow;
    this.isInParts = isInParts;
    const options = { keepAlive: true, maxSockets: 1, rejectUnauthorized: false };
    this.agent = isSecure ? new https.Agent(options) : new Agent(options);
    this.address = { port, host: '127.0.0.1', path: `/?id=${id}${isInParts ? '&part' : ''}` };
  }

  async open() {
    const headers = { 'last-event-id': String(this.heard.lastId()) };
    this.request = this.get({ ...this.address, agent: this.agent, headers });
    this.request.on('error', (error) => this.heard.end(String(error)));
    const [socket] = await once(this.request, 'socket');
    if (this.socket === undefined) socket.on('close', () => this.heard.end('closed'));
    else if (this.socket !== socket) this.heard.end('it had to connect anew');
    this.socket = socket;
    const [response] = await once(this.request, 'response');
    response.setEncoding('utf8').on('data', (chunk) => {
      if (this.isSlow) this.rest(response);
      this.heard.text(chunk);
    });
    response.on('end', () => {
      if (!this.isInParts) this.heard.end('the stream has ended');
      // At the end of the proof it is closed in the middle of a request, too.
      else this.open().catch((error) => this.heard.end(String(error)));
    });
  }

  rest(response) {
    response.pause();
    setTimeout(() => response.resume(), Math.random() * LONGEST_REST_MS);
  }

  close() {
    this.heard = { text() {}, end() {}, lastId: () => -1 };
    this.isInParts = false;
    this.request.destroy();
  }
}

/** A client of HTTP/1.0, whose streams have no chunks. */
class PlainStream {
  constructor({ port, id, isSecure }, heard) {
    this.id = id;
    this.heard = heard;
    ({ socket: this.socket, opened: this.opened } = dial({ port, host: '127.0.0.1' }, isSecure));
    this.socket.setEncoding('utf8');
    this.socket.on('close', () => heard.end('closed'));
    this.socket.on('error', (error) => heard.end(String(error)));
    // From the beginning: what comes right behind the head may be an event of its own.
    this.answered = new Promise((resolve) => {
      let head = '';
      this.socket.on('data', (chunk) => {
        if (head.includes('\r\n\r\n')) return heard.text(chunk);
        head += chunk;
        if (!head.includes('\r\n\r\n')) return;
        heard.text(head.slice(head.indexOf('\r\n\r\n') + 4));
        resolve();
      });
    });
  }

  async open() {
    await this.opened;
    this.socket.write(`GET /?id=${this.id} HTTP/1.0\r\n\r\n`);
    await this.answered;
  }

  close() {
    this.socket.removeAllListeners();
    this.socket.destroy();
  }
}

/** The ways of following a stream, by name; clients take turns. */
export const streams = {
  plain: (options, heard) => new Stream(options, heard),
  'slow reader': (options, heard) => new Stream({ ...options, isSlow: true }, heard),
  'in parts': (options, heard) => new Stream({ ...options, isInParts: true }, heard),
  'HTTP/1.0': (options, heard) => new PlainStream(options, heard),
};
