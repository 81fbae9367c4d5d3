// Clients of node:http2. It has no retry of its own: whatever was asked for and got no whole answer counts as failed.
import { once } from 'node:events';
import http2 from 'node:http2';
import { setTimeout as pause } from 'node:timers/promises';
import { Tally, Unsent } from './tally.mjs';

const PIECE = 'x'.repeat(1000);
const PIECES = 3;
const THINK_MS = 10;
/** An answer that takes longer will not come. */
const ANSWER_LIMIT_MS = 20_000;
/** So long may a session that asks for nothing stay with a generation that has been replaced. */
const IDLE_LIMIT_MS = 5000;

export class NodeClients {
  tally = new Tally();
  #url;
  #loops;
  #isOver = false;
  #idle = new Set();

  /** So many sessions, each with four streams at a time, and some that ask once and wait. */
  constructor(url, sessions, idle) {
    this.#url = url;
    this.#loops = [
      ...Array.from({ length: sessions }, () => this.#busy()),
      ...Array.from({ length: idle }, () => this.#rest()),
    ];
  }

  /** Fails where a session that asks for nothing is not with the process that a new one meets. */
  async idleMoveOn() {
    const session = this.#connect();
    const { pid } = await exchange(session, '/who');
    session.close();
    const giveUpAtMs = performance.now() + IDLE_LIMIT_MS;
    while ([...this.#idle].some((one) => one.pid !== undefined && one.pid !== pid)) {
      if (performance.now() > giveUpAtMs) {
        this.tally.failed('an idle session', `was not told to go within ${IDLE_LIMIT_MS} ms`);
        return;
      }
      await pause(10);
    }
  }

  async stop() {
    this.#isOver = true;
    for (const { session } of this.#idle) session.close();
    await Promise.all(this.#loops);
  }

  #connect() {
    const session = http2.connect(this.#url, { rejectUnauthorized: false });
    session.on('error', (error) => this.tally.failed('a session', error));
    session.on('goaway', () => {
      this.tally.told += 1;
    });
    return session;
  }

  async #busy() {
    while (!this.#isOver) {
      const session = this.#connect();
      await Promise.all(['/short', '/short', '/slow', '/posted'].map((path) => this.#ask(session, path)));
      session.close();
    }
  }

  // Asks on a session until it is told to go; the session itself says that it takes no more.
  async #ask(session, path) {
    while (!this.#isOver && !session.closed && !session.destroyed) {
      await this.tally.counts(path, () => exchange(session, path));
      await pause(Math.random() * 2 * THINK_MS);
    }
  }

  async #rest() {
    while (!this.#isOver) {
      const session = this.#connect();
      const one = { session, pid: undefined };
      this.#idle.add(one);
      await this.tally.counts('/idle', async () => {
        one.pid = (await exchange(session, '/idle')).pid;
      });
      if (!session.destroyed && !this.#isOver) await once(session, 'close').catch(() => {});
      session.close();
      this.#idle.delete(one);
    }
  }
}

async function exchange(session, path) {
  const isPosted = path === '/posted';
  const stream = session.request(
    { ':path': path, ':method': isPosted ? 'POST' : 'GET' },
    { endStream: !isPosted },
  );
  const answered = answerOf(stream);
  answered.catch(() => {});
  if (isPosted) {
    for (let piece = 1; piece < PIECES; piece += 1) {
      stream.write(PIECE);
      await pause(Math.random() * 2 * THINK_MS);
    }
    stream.end(PIECE);
  }
  const { status, text } = await answered;
  const answer = JSON.parse(text);
  const bytes = isPosted ? PIECES * PIECE.length : 0;
  if (status !== 200 || answer.url !== path || answer.bytes !== bytes) {
    throw new Error(`answered ${status} ${JSON.stringify(text)}`);
  }
  return answer;
}

function answerOf(stream) {
  return new Promise((resolve, reject) => {
    let status;
    let text = '';
    let hasEnded = false;
    const limit = setTimeout(() => reject(new Error('no answer')), ANSWER_LIMIT_MS);
    stream.on('response', (headers) => {
      status = headers[':status'];
    });
    stream.setEncoding('utf8').on('data', (chunk) => {
      text += chunk;
    });
    stream.on('end', () => {
      hasEnded = true;
    });
    // nghttp2 in the client itself: the GOAWAY came before the request was written.
    stream.on('frameError', () => reject(new Unsent('the client was told to go before it sent the request')));
    stream.on('error', reject);
    stream.on('close', () => {
      clearTimeout(limit);
      if (hasEnded && stream.rstCode === 0) resolve({ status, text });
      else reject(new Error(`ended with code ${stream.rstCode} after ${JSON.stringify(text)}`));
    });
  });
}
