import { once } from 'node:events';
import { type ClientRequest, get, type IncomingMessage } from 'node:http';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { until } from '../integration/supervised.js';
import { type Clients, inLoops, Tally } from './tally.js';

const COUNT = 4;

interface Line {
  readonly name: string;
  readonly text: string;
  readonly generation: number;
}

/** Four windows of the chat. Each hears every line of every other once and in order; nothing of it may close. */
export function chatClients(port: number): Clients {
  const tally = new Tally();
  const windows = Array.from({ length: COUNT }, (_, index) => new Window(`window ${index}`, port, tally));
  const loops = inLoops(COUNT, tally, async (index) => {
    await (windows[index] as Window).say();
    await pause(20);
  });
  return {
    tally,
    async stop() {
      await loops.stop();
      const said = windows.reduce((sum, { said }) => sum + said, 0);
      await until('all have heard all', () => windows.every((one) => one.heard === said)).catch((error) =>
        tally.failed(`${error.message}: ${windows.map(({ heard }) => heard)} of ${said}`),
      );
      // One that has moved goes on from the generation that has it now.
      const last = tally.versions.at(-1) ?? '';
      await until('all streams come from the last one', () =>
        windows.every(({ source }) => source === last),
      ).catch((error) => tally.failed(`${error.message}, ${last}: ${windows.map(({ source }) => source)}`));
      for (const window of windows) window.close();
    },
  };
}

class Window {
  said = 0;
  heard = 0;
  /** The generation that has sent the last event. */
  source = '';
  readonly #ws: WebSocket;
  readonly #events: ClientRequest;
  readonly #next = new Map<string, number>();
  readonly #tally: Tally;
  readonly #isOpen: Promise<unknown>;

  constructor(name: string, port: number, tally: Tally) {
    this.#tally = tally;
    this.#ws = new WebSocket(`ws://127.0.0.1:${port}/?name=${encodeURIComponent(name)}`);
    this.#isOpen = once(this.#ws, 'open');
    this.#ws.on('message', (data) => {
      for (const line of String(data).trimEnd().split('\n')) this.#hear(JSON.parse(line) as Line);
    });
    this.#ws.on('close', (code) => tally.failed(`the WebSocket of ${name} was closed with ${code}`));
    this.#events = get({ host: '127.0.0.1', port, path: '/events', agent: false });
    this.#events.on('error', (error) => tally.failed(error));
    this.#events.on('response', (response) => this.#follow(response));
  }

  async say(): Promise<void> {
    await this.#isOpen;
    this.#ws.send(String(this.said));
    this.said += 1;
  }

  close(): void {
    this.#ws.removeAllListeners();
    this.#ws.terminate();
    this.#events.removeAllListeners();
    this.#events.on('error', () => {});
    this.#events.destroy();
  }

  #hear({ name, text, generation }: Line): void {
    const expected = this.#next.get(name) ?? 0;
    if (text !== String(expected)) this.#tally.failed(`expected line ${expected} of ${name}, heard ${text}`);
    this.#next.set(name, expected + 1);
    this.heard += 1;
    this.#tally.answered(`generation ${generation}`);
  }

  #follow(response: IncomingMessage): void {
    let last = 0;
    response.on('close', () => {
      if (!this.#tally.isOver.signal.aborted) this.#tally.failed('a stream of events was closed');
    });
    response.on('error', () => {});
    createInterface({ input: response })
      .on('line', (line) => {
        const data = /^data: (.+)$/.exec(line)?.[1];
        if (data !== undefined) this.source = String((JSON.parse(data) as { generation: number }).generation);
        const id = /^id: (\d+)$/.exec(line)?.[1];
        if (id === undefined) return;
        if (Number(id) !== last + 1) this.#tally.failed(`event ${id} came after ${last}`);
        last = Number(id);
      })
      // The interface passes on what its input fails with.
      .on('error', () => {});
  }
}
