import assert from 'node:assert/strict';
import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import { io as connectTo } from 'socket.io-client';
import WebSocket from 'ws';
import { until } from './supervised.js';

/** More texts than this are not sent before they have come to all: on a slow machine the service would be busy for seconds with each read. */
const MOST_UNDER_WAY = 200;

/** What clients that stay connected have been sent, and what they should have been. */
export class Audience {
  /** How often each client was sent each text. */
  readonly heard: Map<string, number>[] = [];
  /** Whether the texts of one sender have an order. */
  isInOrder = true;
  /** Where a text of a sender came before an earlier one. */
  readonly disorder: string[] = [];
  /** Connections that came to an end. */
  ended = 0;
  readonly #last: Map<string, number>[] = [];

  /** A client that listens. @returns what it is told of each text: `sender number`. */
  join(): (text: string) => void {
    const heard = new Map<string, number>();
    const last = new Map<string, number>();
    const which = this.heard.push(heard) - 1;
    this.#last.push(last);
    return (text) => {
      heard.set(text, (heard.get(text) ?? 0) + 1);
      const [sender = '', number] = text.split(' ');
      const before = last.get(sender) ?? -1;
      if (this.isInOrder && Number(number) < before)
        this.disorder.push(`client ${which}: ${text} after ${before}`);
      last.set(sender, Number(number));
    };
  }

  /** How many texts have come to the client to which the fewest have. */
  get leastHeard(): number {
    return Math.min(...this.heard.map(({ size }) => size));
  }

  /** Waits until all have been sent all, then fails unless each was once. */
  async hadOnce(texts: readonly string[]): Promise<void> {
    const missing = () =>
      this.heard.reduce((sum, one) => sum + texts.filter((text) => !one.has(text)).length, 0);
    const has = () => this.heard.reduce((sum, one) => sum + one.size, 0);
    // However long it takes to read it all: what has not come when nothing comes any more is lost.
    for (let before = -1; missing() > 0 && has() !== before; ) {
      before = has();
      await until('more has come', () => missing() === 0 || has() !== before, 5000).catch(() => {});
    }
    const twice = this.heard.reduce(
      (sum, one) => sum + [...one.values()].reduce((more, count) => more + count - 1, 0),
      0,
    );
    const found = { lost: missing(), twice, ended: this.ended, disorder: this.disorder.slice(0, 5) };
    const of = `of ${texts.length * this.heard.length}`;
    assert.deepEqual(found, { lost: 0, twice: 0, ended: 0, disorder: [] }, of);
  }
}

/** A client that is sent texts, and may say some. */
interface Member {
  say(text: string): void;
  close(): void;
}

type Join = (
  port: number,
  tell: { text(text: string): void; said(text: string): void; ended(): void },
) => Promise<Member>;

/** A WebSocket of a chat. */
export const byWebSocket: Join = async (port, { text, said, ended }) => {
  const ws = new WebSocket(`ws://127.0.0.1:${port}/?room=all`);
  ws.on('message', (data) => {
    const words = String(data);
    if (words.startsWith('said ')) said(words.slice(5));
    // What is more than sender and number only makes it large.
    else text(words.split(' ', 2).join(' '));
  });
  ws.on('close', ended);
  ws.on('error', () => {});
  await once(ws, 'open');
  return { say: (words) => ws.send(words), close: () => ws.terminate() };
};

/** A client of Socket.IO, in a room. */
export const bySocketIo: Join = async (port, { text, said, ended }) => {
  const socket = connectTo(`http://127.0.0.1:${port}`, {
    transports: ['websocket'],
    reconnection: false,
    forceNew: true,
    auth: { room: 'all' },
  });
  socket.on('text', text);
  socket.on('said', said);
  socket.on('disconnect', ended);
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('connect_error', reject);
  });
  return { say: (words) => socket.emit('say', words), close: () => socket.disconnect() };
};

/** Clients that stay connected; some of them talk all the time, and others outside may do so, too. */
export class Crowd {
  readonly audience = new Audience();
  readonly said: string[] = [];
  readonly #members: Member[] = [];
  #isOver = false;
  #talking: Promise<void>[] = [];

  async connect(join: Join, port: number, count: number): Promise<void> {
    for (let i = 0; i < count; i += 1) {
      const ended = () => {
        this.audience.ended += this.#isOver ? 0 : 1;
      };
      const said = (text: string) => this.said.push(text);
      this.#members.push(await join(port, { text: this.audience.join(), said, ended }));
    }
  }

  /** So many of them say a number, again and again. */
  talk(count: number, everyMs: number): void {
    for (const [which, member] of this.#members.slice(0, count).entries()) {
      this.#repeat(everyMs, (number) => member.say(`t${which} ${number}`));
    }
  }

  /** Somebody outside sends numbers to all, again and again, as fast as they come at most: a broker would take more than the service. */
  hearFrom(name: string, everyMs: number, send: (text: string) => unknown): void {
    this.#repeat(everyMs, async (number) => {
      while (!this.#isOver && this.said.length - this.audience.leastHeard > MOST_UNDER_WAY)
        await pause(everyMs);
      const text = `${name} ${number}`;
      await send(text);
      this.said.push(text);
    });
  }

  /** They fall silent; settles when all that was said has come once to everybody. */
  async finish(): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.#talking);
    await pause(200);
    await this.audience.hadOnce(this.said);
    this.close();
  }

  close(): void {
    this.#isOver = true;
    for (const member of this.#members) member.close();
  }

  #repeat(everyMs: number, say: (number: number) => unknown): void {
    const talk = async () => {
      for (let number = 0; !this.#isOver; number += 1) {
        await say(number);
        await pause(everyMs);
      }
    };
    this.#talking.push(talk());
  }
}
