import { createSocket, type Socket } from 'node:dgram';
import { readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { eventOf } from '../support/events.js';

const HOST = '127.0.0.1';
const TICK_MS = 5;
/** No answer for so long, after the last datagram was sent: none will come. */
const OVER_AFTER_MS = 3000;

/** What came of a stream. */
export interface StreamReport {
  readonly sent: number;
  /** The numbers of those that were never answered. */
  readonly lost: number[];
  /** The numbers of those that were answered more than once. */
  readonly twice: number[];
  /** What the kernel dropped because a receive queue was full, of the service's socket and of the clients'. */
  readonly dropped: number;
  /** Answers by the process that gave them, in the order in which the processes first answered. */
  readonly by: ReadonlyMap<number, number>;
  readonly longestMs: number;
  /** Where sessions were not whole: each flow's places in its session, as the service counts them, by one process each. */
  readonly broken: string[];
}

/** Numbered datagrams at a steady rate, from many flows by turns, to a service that answers `<process> <number>`. */
export class DatagramStream {
  /** The process that gave the last answer. */
  lastBy = 0;
  readonly #port: number;
  readonly #flows: Socket[] = [];
  readonly #sentAtMs: number[] = [];
  readonly #answers: number[] = [];
  readonly #places: { readonly pid: number; readonly place: number }[] = [];
  readonly #by = new Map<number, number>();
  #longestMs = 0;
  #timer: NodeJS.Timeout | undefined;
  #droppedBefore = 0;
  #report: Promise<StreamReport> | undefined;

  readonly #perSession: number;

  private constructor(port: number, perSession: number) {
    this.#port = port;
    this.#perSession = perSession;
  }

  /** @param perSession datagrams in a session, where the service has sessions. */
  static async start(port: number, perSecond = 1000, flows = 50, perSession = 0): Promise<DatagramStream> {
    const stream = new DatagramStream(port, perSession);
    stream.#droppedBefore = droppedOn([port]);
    for (let i = 0; i < flows; i += 1) {
      const flow = createSocket({ type: 'udp4', recvBufferSize: 400_000 });
      flow.on('message', (message) => stream.#answered(String(message)));
      flow.bind(0, HOST);
      await eventOf(flow, 'listening');
      stream.#flows.push(flow);
    }
    const startedAtMs = performance.now();
    stream.#timer = setInterval(() => {
      const due = Math.floor(((performance.now() - startedAtMs) * perSecond) / 1000);
      while (stream.sent < due) stream.#send();
    }, TICK_MS);
    return stream;
  }

  get sent(): number {
    return this.#sentAtMs.length;
  }

  /** How many were answered, by this process or by all. */
  answered(pid?: number): number {
    if (pid !== undefined) return this.#by.get(pid) ?? 0;
    return [...this.#by.values()].reduce((sum, one) => sum + one, 0);
  }

  /** Sends no more, and waits for the answers that are due. May be called again. */
  stop(): Promise<StreamReport> {
    this.#report ??= this.#end();
    return this.#report;
  }

  async #end(): Promise<StreamReport> {
    clearInterval(this.#timer);
    const { sent } = this;
    let quietSinceMs = performance.now();
    for (let before = -1; performance.now() - quietSinceMs < OVER_AFTER_MS; ) {
      const lost = this.#missing().length;
      if (lost === 0) break;
      if (before !== lost) quietSinceMs = performance.now();
      before = lost;
      await pause(20);
    }
    // A second answer may come after the first.
    await pause(100);
    const ports = this.#flows.map((flow) => flow.address().port);
    const dropped = droppedOn([this.#port]) - this.#droppedBefore + droppedOn(ports);
    for (const flow of this.#flows) flow.close();
    const twice = this.#answers.flatMap((count, number) => (count > 1 ? [number] : []));
    const lost = this.#missing();
    const broken = this.#broken();
    return { sent, lost, twice, dropped, by: this.#by, longestMs: this.#longestMs, broken };
  }

  // Each answer must follow on the last of its flow, and come of the same process, until the session is full.
  #broken(): string[] {
    const broken: string[] = [];
    const last = new Map<number, { pid: number; place: number }>();
    this.#places.forEach((now, number) => {
      const flow = number % this.#flows.length;
      const before = last.get(flow);
      last.set(flow, now);
      const isNext = before !== undefined && before.pid === now.pid && before.place === now.place - 1;
      const isFirst = now.place === 1 && (before === undefined || before.place === this.#perSession);
      if (isFirst || isNext) return;
      broken.push(`flow ${flow}: ${before?.pid}/${before?.place}, then ${now.pid}/${now.place}`);
    });
    return broken;
  }

  #missing(): number[] {
    return this.#sentAtMs.flatMap((_, number) => (this.#answers[number] === undefined ? [number] : []));
  }

  #send(): void {
    const number = this.sent;
    this.#sentAtMs.push(performance.now());
    this.#flows[number % this.#flows.length]?.send(String(number), this.#port, HOST);
  }

  #answered(text: string): void {
    const [pid = 0, number = -1, place] = text.split(' ').map(Number);
    if (place !== undefined) this.#places[number] = { pid, place };
    this.lastBy = pid;
    this.#by.set(pid, (this.#by.get(pid) ?? 0) + 1);
    this.#answers[number] = (this.#answers[number] ?? 0) + 1;
    this.#longestMs = Math.max(this.#longestMs, performance.now() - (this.#sentAtMs[number] ?? 0));
  }
}

/** Source: proc_net_udp(5): the last column counts what was dropped. */
function droppedOn(ports: readonly number[]): number {
  const lines = readFileSync('/proc/net/udp', 'utf8').trim().split('\n').slice(1);
  return lines
    .map((line) => line.trim().split(/\s+/))
    .filter(([, local]) => ports.includes(Number.parseInt(local?.split(':')[1] ?? '', 16)))
    .reduce((sum, columns) => sum + Number(columns.at(-1)), 0);
}
