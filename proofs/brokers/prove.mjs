// Numbered messages at a steady rate through a real broker, while the service that consumes them restarts under moult.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { ownRelease } from '../../scripts/own-release.mjs';

/** How long nothing may come of what has been sent before it counts as lost, and how long a broker may take to say that nothing is left. */
const SETTLE_WITHIN_MS = 60_000;
/** Connections of this program itself: of its producer, and of its questions. */
const OWN_CONNECTIONS = 6;

/** A broker with what it needs, for any number of runs. */
export class Bench {
  #folder = mkdtempSync(path.join(tmpdir(), 'moult-brokers-'));
  #Supervised;
  #name;
  #service;
  #runs = 0;

  /** @param Supervised the class of test/integration/supervised.ts. */
  constructor(name, broker, Supervised) {
    this.#name = name;
    this.broker = broker;
    this.#Supervised = Supervised;
  }

  async start() {
    this.#service = path.join(ownRelease('proofs/brokers', this.#folder), 'service.mjs');
    this.server = await this.broker.server(this.#folder);
    await this.broker.prepare(this.server.url);
  }

  async stop() {
    await this.server?.stop();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /**
   * One run of the service: `messages` are sent, or more of them until `during` is over, which is called as often as
   * there are parts, in the middle of each; its `handlers` says how many generations have handled a message.
   * @param probation of each restart, as `moult run` takes it.
   * @param isCut whether the broker is away meanwhile: what it has not confirmed comes again.
   * @returns what came of it, with everything that is not as promised as `problems`.
   */
  async run({
    changeover,
    messages,
    perSecond,
    parts = 0,
    during = async () => {},
    isCut = false,
    probation = '50ms',
  }) {
    this.#runs += 1;
    const log = path.join(this.#folder, `handled-${this.#runs}`);
    writeFileSync(log, '');
    const acceptedBefore = await this.server.accepted();
    const service = await this.#Supervised.start({
      command: [this.#service],
      env: { BROKER: this.#name, BROKER_URL: this.server.url, CHANGEOVER: changeover, HANDLED: log },
      runOptions: ['--probation', probation],
    });
    try {
      const stream = new Stream(await this.broker.producer(this.server.url), messages, perSecond);
      for (let part = 1; part <= parts; part += 1) {
        await stream.reaches(Math.floor((messages * (part - 0.5)) / parts));
        await during({
          service,
          part,
          handlers: () => new Set(linesOf(log).map(({ generation }) => generation)).size,
        });
      }
      const { sent, longestMs: producerMs } = await stream.end();
      const accepted = (await this.server.accepted()) - acceptedBefore;
      await this.#settled(log, sent);
      // What was in hand and not acknowledged is back in its queue by then.
      await service.stop();
      const left = await this.broker.left(this.server.url);
      const lines = linesOf(log);
      const problems = this.#judge({ lines, left, sent, changeover, isCut });
      if (problems.length > 0) problems.push(...told(service.output));
      return { sent, ...figuresOf(lines, sent), producerMs, accepted, problems };
    } finally {
      if (!service.isOver) await service.stop();
    }
  }

  /** Waits until everything is handled, and nothing is left. */
  async #settled(log, sent) {
    let seen = -1;
    let giveUpAtMs = 0;
    for (;;) {
      const now = new Set(linesOf(log).map(({ n }) => n)).size;
      // On a busy machine fewer may be handled in a second than are sent: they are on their way.
      if (now > seen) giveUpAtMs = performance.now() + SETTLE_WITHIN_MS;
      seen = now;
      if (now >= sent && (await this.broker.left(this.server.url)) === 0) return;
      if (performance.now() > giveUpAtMs) return;
      await delay(50);
    }
  }

  #judge({ lines, left, sent, changeover, isCut }) {
    const problems = [];
    const { lost, doubled } = figuresOf(lines, sent);
    if (lost.length > 0) problems.push(`lost: ${lost.slice(0, 20).map((n) => around(lines, n))}`);
    if (left > 0) problems.push(`${left} are not settled`);
    if (isCut) return problems;
    const isOnce = changeover === 'exclusive' || this.broker.onceInOverlap;
    if (isOnce && doubled > 0) problems.push(`${doubled} were handled twice: ${twice(lines)}`);
    const isOrdered = changeover === 'exclusive' && this.broker.keepsOrder !== false;
    const late = lines.find(({ n }, i) => i > 0 && n < lines[i - 1].n);
    if (isOrdered && late !== undefined) problems.push(`${late.n} was handled out of order`);
    return problems;
  }

  /** The most connections that so many restarts explain; undefined where the broker does not say. */
  mostConnections(restarts) {
    const { connectionsPerGeneration } = this.broker;
    return connectionsPerGeneration && (restarts + 1) * connectionsPerGeneration + OWN_CONNECTIONS;
  }
}

/** Sends numbers from 0 on at a steady rate, until it is told to end and has sent as many as it should. */
class Stream {
  #producer;
  #sent = 0;
  #longestMs = 0;
  #isEnding = false;
  #sending;

  constructor(producer, atLeast, perSecond) {
    this.#producer = producer;
    this.#sending = this.#send(atLeast, perSecond);
    // Told by who waits for it.
    this.#sending.catch(() => {});
  }

  async #send(atLeast, perSecond) {
    const confirmed = [];
    const beganMs = performance.now();
    let lastMs = beganMs;
    while (!this.#isEnding || this.#sent < atLeast) {
      const nowMs = performance.now();
      const due = Math.floor(((nowMs - beganMs) / 1000) * perSecond) + 1;
      if (due > this.#sent) {
        this.#longestMs = Math.max(this.#longestMs, nowMs - lastMs);
        lastMs = nowMs;
      }
      for (; this.#sent < due; this.#sent += 1) confirmed.push(this.#sendOne(this.#sent));
      await delay(1);
    }
    await Promise.all(confirmed);
  }

  /** Again, until the broker has it: it may be away. */
  async #sendOne(n) {
    for (;;) {
      try {
        return await this.#producer.send(n);
      } catch {
        await delay(100);
      }
    }
  }

  /** Waits until so many have been sent. */
  async reaches(count) {
    while (this.#sent < count) await delay(5);
  }

  async end() {
    this.#isEnding = true;
    await this.#sending;
    await this.#producer.close();
    return { sent: this.#sent, longestMs: this.#longestMs };
  }
}

function linesOf(log) {
  return readFileSync(log, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [n, generation, ns] = line.split(' ');
      return { n: Number(n), generation: Number(generation), ms: Number(BigInt(ns) / 1000n) / 1000 };
    });
}

function figuresOf(lines, sent) {
  const seen = new Set(lines.map(({ n }) => n));
  const lost = Array.from({ length: sent }, (_, n) => n).filter((n) => !seen.has(n));
  const times = lines.map(({ ms }) => ms).sort((a, b) => a - b);
  const longestMs = times.reduce((most, ms, i) => Math.max(most, i === 0 ? 0 : ms - times[i - 1]), 0);
  const generations = new Set(lines.map(({ generation }) => generation)).size;
  const seconds = (times.at(-1) - times[0]) / 1000;
  const changeMs = longestAtChange(lines, times);
  return { lost, doubled: lines.length - seen.size, longestMs, changeMs, generations, seconds };
}

/** Which was lost, and who handled those beside it. */
function around(lines, n) {
  const beside = lines
    .filter((line) => Math.abs(line.n - n) <= 3)
    .map(({ n, generation }) => `${n} by ${generation}`);
  return `${n} (${beside.join(', ')})`;
}

/** Those handled more than once: by which generations, and how long after the first time. */
function twice(lines) {
  const first = new Map();
  const again = [];
  for (const { n, generation, ms } of lines) {
    const former = first.get(n);
    if (former === undefined) first.set(n, { generation, ms });
    else
      again.push(`${n} by ${former.generation} and ${(ms - former.ms).toFixed(1)} ms later by ${generation}`);
  }
  return again.slice(0, 20).join('; ');
}

/** What service and moult warned of. */
function told(output) {
  return output
    .split('\n')
    .filter((line) => /warn|error|MOULT_/i.test(line))
    .slice(0, 40);
}

/** The longest time without consumption that touches one from the last of a generation's to the first of the next one's. */
function longestAtChange(lines, times) {
  const spans = new Map();
  for (const { generation, ms } of lines) {
    const { firstMs = ms, lastMs = ms } = spans.get(generation) ?? {};
    spans.set(generation, { firstMs: Math.min(firstMs, ms), lastMs: Math.max(lastMs, ms) });
  }
  let most = 0;
  for (const [generation, { firstMs }] of spans) {
    const former = spans.get(generation - 1);
    if (former === undefined) continue;
    const [from, to] = [Math.min(former.lastMs, firstMs), Math.max(former.lastMs, firstMs)];
    for (let i = 1; i < times.length; i += 1) {
      if (times[i] >= from && times[i - 1] <= to) most = Math.max(most, times[i] - times[i - 1]);
    }
  }
  return most;
}
