import { setTimeout as delay } from 'node:timers/promises';
import type { Consumer } from '#moult/tasks/consumer.js';
import { temporaryFolder } from './temporary-folder.js';
import type { Later } from './tidy.js';

/** A running message service of the test's own. */
export interface Server {
  readonly url: string;
  readonly pid: number;
  start(): Promise<void>;
  stop(signal?: NodeJS.Signals): Promise<void>;
  accepted(): Promise<number | undefined>;
}

/** One file of proofs/brokers. */
export interface Broker {
  readonly program: string;
  readonly debianPackage: string;
  server(folder: string, settings?: readonly string[]): Promise<Server>;
  prepare(url: string): Promise<void>;
  producer(url: string): Promise<{ send(n: number): Promise<unknown>; close(): Promise<unknown> }>;
  left(url: string): Promise<number>;
  consumer(terms: {
    url: string;
    changeover: 'exclusive' | 'overlap';
    handle(n: number, epoch: number): Promise<unknown> | undefined;
  }): Consumer;
}

export async function brokerOf(name: string): Promise<Broker> {
  const file = new URL(`../../../proofs/brokers/${name}.mjs`, import.meta.url);
  return ((await import(file.href)) as { default: Broker }).default;
}

/** Starts one in a folder of its own, with what the broker's tests need in it. */
export async function started(broker: Broker, later: Later, settings?: readonly string[]): Promise<Server> {
  const server = await broker.server(temporaryFolder(later), settings);
  later(() => server.stop('SIGKILL'));
  await broker.prepare(server.url);
  return server;
}

/** The terms of a stop, with a signal that aborts at the deadline. */
export function stopWithin(withinMs: number): {
  signal: AbortSignal;
  withinMs: number;
  changeover: 'exclusive';
} {
  return { signal: AbortSignal.timeout(withinMs), withinMs, changeover: 'exclusive' };
}

export function startAs(
  epoch: number,
  saved?: unknown,
): { epoch: number; saved: unknown; changeover: 'exclusive' } {
  return { epoch, saved, changeover: 'exclusive' };
}

/** What the generations of a test have handled, in order. */
export class Handled {
  readonly all: { n: number; epoch: number }[] = [];
  #waiting: (() => void)[] = [];

  readonly add = (n: number, epoch: number): void => {
    this.all.push({ n, epoch });
    for (const told of this.#waiting.splice(0)) told();
  };

  get numbers(): number[] {
    return this.all.map(({ n }) => n);
  }

  /** Waits until so many have been handled. */
  async reaches(count: number, withinMs = 20_000): Promise<void> {
    const late = delay(withinMs, 'late', { ref: false });
    while (this.all.length < count) {
      const told = new Promise<void>((resolve) => this.#waiting.push(resolve));
      if ((await Promise.race([told, late])) === 'late') {
        throw new Error(`handled ${this.all.length} of ${count} within ${withinMs} ms`);
      }
    }
  }
}

/** The numbers from 0 up to, and not with, this one. */
export function numbersTo(end: number): number[] {
  return Array.from({ length: end }, (_, n) => n);
}

/** Waits until so many messages are not settled. */
export async function leaves({ left }: Broker, url: string, count: number, withinMs = 10_000): Promise<void> {
  const giveUpAtMs = performance.now() + withinMs;
  for (let now = await left(url); now !== count; now = await left(url)) {
    if (performance.now() > giveUpAtMs) throw new Error(`left are ${now}, not ${count}`);
    await delay(5);
  }
}
