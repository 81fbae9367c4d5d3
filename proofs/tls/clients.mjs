// Clients of other makers, each with one connection to an HTTPS server for as long as it lasts, counting what it is answered.
import { spawn } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('.', import.meta.url));
const REQUEST = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n';
/** Longer than anything takes on a busy machine. */
const PATIENCE_MS = 60_000;

/** By its name: what it is started as, and whether it is spoken through, so that its keys can be updated. */
const CLIENTS = {
  python: (port) => ({ command: ['python3', path.join(here, 'ask.py'), port] }),
  go: (port) => ({ command: ['go', 'run', path.join(here, 'ask.go'), port] }),
  // A new key after each 4 KiB.
  java: (port) => ({
    command: [
      'java',
      '-Djdk.tls.keyLimits=AES/GCM/NoPadding KeyUpdate 2^12',
      path.join(here, 'Ask.java'),
      port,
    ],
  }),
  // A connection for each request: there is always a handshake under way.
  'java dialing': (port) => ({ command: ['java', path.join(here, 'Ask.java'), port, '1'], isDialing: true }),
  curl: (port) => {
    const one = ['-w', 'c%{num_connects}\\na\\n', '-o', '/dev/null', `https://127.0.0.1:${port}/[1-1000000]`];
    // By lines: else what it says comes in pieces of 4 KiB.
    return { command: ['stdbuf', '-oL', 'curl', '-sS', '-k', '--http1.1', '--rate', '100/s', ...one] };
  },
  // k updates its own keys, K the server's too.
  openssl: (port) => ({
    command: ['openssl', 's_client', '-connect', `127.0.0.1:${port}`, '-tls1_3'],
    updates: ['k\n', 'K\n'],
  }),
  // Takes records of 512 bytes at most.
  'openssl in fragments': (port) => ({
    command: ['openssl', 's_client', '-connect', `127.0.0.1:${port}`, '-tls1_3', '-maxfraglen', '512'],
    updates: ['k\n', 'K\n'],
  }),
  gnutls: (port) => ({
    command: [
      'gnutls-cli',
      '--insecure',
      '--inline-commands',
      '--priority',
      'NORMAL:-VERS-ALL:+VERS-TLS1.3',
      '-p',
      port,
      '127.0.0.1',
    ],
    updates: ['^rekey^\n'],
  }),
};

export const clientNames = Object.keys(CLIENTS);

/** Starts one. */
export function startClient(name, port) {
  const { command, updates, isDialing = false } = CLIENTS[name](String(port));
  const client =
    updates === undefined ? new AskingClient(name, command) : new SpokenClient(name, command, updates);
  client.isDialing = isDialing;
  return client;
}

class Client {
  answers = 0;
  connections = 0;
  errors = '';
  /** The longest time between two answers. */
  longestMs = 0;
  #answeredAtMs;
  #waiting = [];

  constructor(name, [command, ...args]) {
    this.name = name;
    this.process = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    this.ended = new Promise((resolve) => {
      this.process.once('close', resolve);
    });
    this.process.once('error', (error) => {
      this.errors += error.message;
    });
    this.process.stdin.on('error', () => {});
    this.process.stderr.setEncoding('utf8').on('data', (text) => this.complained(text));
    this.process.stdout.setEncoding('latin1').on('data', (text) => this.said(text));
  }

  /** Waits for so many more answers. */
  answered(count) {
    const wanted = this.answers + count;
    return new Promise((resolve, reject) => {
      const late = () =>
        reject(new Error(`${this.name}: no answer: ${this.answers} of ${wanted} ${this.errors}`));
      const timer = setTimeout(late, PATIENCE_MS);
      this.#waiting.push({ wanted, resolve: () => resolve(clearTimeout(timer)) });
      this.ended.then(late);
    });
  }

  gotAnswers(count) {
    this.answers += count;
    const nowMs = performance.now();
    this.longestMs = Math.max(this.longestMs, nowMs - (this.#answeredAtMs ?? nowMs));
    this.#answeredAtMs = nowMs;
    for (const { resolve } of this.#waiting.filter(({ wanted }) => wanted <= this.answers)) resolve();
    this.#waiting = this.#waiting.filter(({ wanted }) => wanted > this.answers);
  }

  complained(text) {
    for (const line of text.split('\n'))
      if (/^lost|^curl:|alert|unexpected|\*\*\* Fatal/.test(line)) this.errors += line;
  }

  async stop() {
    this.process.stdin.end();
    const timer = setTimeout(() => this.process.kill(), 2000);
    await this.ended;
    clearTimeout(timer);
    return this;
  }
}

/** One that asks by itself, and says "c" for a connection and "a" for an answer. */
class AskingClient extends Client {
  #rest = '';

  said(text) {
    const lines = `${this.#rest}${text}`.split('\n');
    this.#rest = lines.pop();
    // curl says how many connections a request has made.
    this.connections += lines.filter((line) => line === 'c' || line === 'c1').length;
    this.gotAnswers(lines.filter((line) => line === 'a').length);
  }
}

/** One that passes on what it is told, with commands for updates of keys in between. */
class SpokenClient extends Client {
  #updates;
  #turn = 0;
  #text = '';
  updated = 0;

  constructor(name, command, updates) {
    super(name, command);
    this.#updates = updates;
    this.connections = 1;
    setTimeout(() => this.#ask(), 1000);
  }

  said(text) {
    this.#text += text;
    // The end of the echo's answer.
    const parts = this.#text.split('"sha1":');
    if (parts.length === 1) return;
    this.#text = parts.at(-1);
    this.gotAnswers(parts.length - 1);
    setTimeout(() => this.#ask(), 20);
  }

  #ask() {
    this.#turn += 1;
    if (this.#turn % 4 !== 0) {
      this.process.stdin.write(REQUEST);
      return;
    }
    // Of its own: what comes in one piece with a command is not sent.
    this.process.stdin.write(this.#updates[this.updated++ % this.#updates.length]);
    setTimeout(() => this.process.stdin.write(REQUEST), 100);
  }
}
