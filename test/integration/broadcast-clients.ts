import assert from 'node:assert/strict';
import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import WebSocket from 'ws';
import { until } from './supervised.js';

/** What clients that stay connected have been sent, and what they should have been. */
export class Audience {
  /** How often each client was sent each text. */
  readonly heard: Map<string, number>[] = [];
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
      if (Number(number) < before) this.disorder.push(`client ${which}: ${text} after ${before}`);
      last.set(sender, Number(number));
    };
  }

  /** Waits until all have been sent all, then fails unless each was once. */
  async hadOnce(texts: readonly string[]): Promise<void> {
    const missing = () =>
      this.heard.reduce((sum, one) => sum + texts.filter((text) => !one.has(text)).length, 0);
    await until('everything has come', () => missing() === 0, 5000).catch(() => {});
    const twice = this.heard.reduce(
      (sum, one) => sum + [...one.values()].reduce((more, count) => more + count - 1, 0),
      0,
    );
    const found = { lost: missing(), twice, ended: this.ended, disorder: this.disorder.slice(0, 5) };
    const of = `of ${texts.length * this.heard.length}`;
    assert.deepEqual(found, { lost: 0, twice: 0, ended: 0, disorder: [] }, of);
  }
}

/** WebSockets in rooms of a chat; some of them talk all the time. */
export class ChatClients {
  readonly audience = new Audience();
  readonly said: string[] = [];
  #sockets: WebSocket[] = [];
  #isOver = false;
  #talking: Promise<void>[] = [];

  async connect(port: number, count: number): Promise<void> {
    for (let i = 0; i < count; i += 1) {
      const ws = new WebSocket(`ws://127.0.0.1:${port}/?room=all`);
      const hear = this.audience.join();
      ws.on('message', (data) => {
        const text = String(data);
        if (text.startsWith('said ')) this.said.push(text.slice(5));
        else hear(text);
      });
      ws.on('close', () => {
        this.audience.ended += this.#isOver ? 0 : 1;
      });
      ws.on('error', () => {});
      this.#sockets.push(ws);
      await once(ws, 'open');
    }
  }

  /** So many of them say a number, again and again. */
  talk(count: number, everyMs: number): void {
    this.#talking = this.#sockets.slice(0, count).map(async (ws, which) => {
      for (let number = 0; !this.#isOver; number += 1) {
        ws.send(`t${which} ${number}`);
        await pause(everyMs);
      }
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
    for (const ws of this.#sockets) ws.terminate();
  }
}
