import { setTimeout as pause } from 'node:timers/promises';
import mqtt from 'mqtt';
import { textOf } from '../../test/fixtures/services/numbered.mjs';

/** So many messages may be without an acknowledgement; the next waits. */
const WINDOW = 5;
const LONGEST_HESITATION_MS = 400;
/** What is slow is not lost: on a busy machine a message may take long. */
const TIMEOUT_MS = 120_000;

/**
 * One client of a broker. It sends numbered messages to the next client of the ring, checks those that it is sent itself,
 * and has the number of its last message retained. Nobody's will must be heard.
 */
export class Subscriber {
  static #ring = [];

  /** So many of its messages have been acknowledged, or sent where none is due. */
  answered = 0;
  /** So many messages has it been sent. */
  pushed = 0;
  longestMs = 0;
  /** What was not as it must be; the first things only. */
  problems = [];
  #id;
  #kind;
  #how;
  #address;
  #thinkMs;
  #client;
  #sent = 0;
  #retained;
  #isStopped = false;
  #stopped;
  #waiting = new Set();

  constructor(id, kind, how, { port }, thinkMs) {
    this.#id = id;
    this.#kind = kind;
    this.#how = how;
    this.#address = `mqtt://127.0.0.1:${port}`;
    this.#thinkMs = thinkMs;
    Subscriber.#ring.push(this);
  }

  async run() {
    await this.#connect();
    await this.#client.subscribeAsync([`to/${this.#id}`, 'wills/#'], { qos: 2 });
    if (this.#how.isAsleep) return this.#client.endAsync();
    // Whom it sends to must have subscribed.
    await pause(500);
    while (!this.#isStopped && this.problems.length === 0) {
      this.#send();
      await this.#until('it has arrived', () => this.#sent - this.#arrived < WINDOW);
      await pause(Math.random() * 2 * this.#thinkMs);
    }
  }

  /** Sends no more; waits until everything has come. */
  async finish(running) {
    this.#isStopped = true;
    this.#stopped = running.then(() =>
      this.#until('all that it sent is acknowledged', () => this.answered === this.#sent),
    );
    await this.#stopped;
    const before = Subscriber.#ring.at(this.#id - 1);
    // What one asleep has not heard comes in order when nothing new comes between.
    await before.#stopped;
    if (this.#how.isAsleep) await this.#connect();
    await this.#until('all has come', () => this.pushed === before.#sent);
    if (this.#sent > 0) {
      this.#client.subscribe(`last/${this.#id}`, { qos: 1 });
      await this.#until('its retained message comes', () => this.#retained === String(this.#sent - 1));
    }
    this.#client.removeAllListeners('close');
    if (this.problems.length === 0) await this.#client.endAsync();
    else this.#client.end(true);
  }

  // What nobody acknowledges has arrived when it is heard: a busy broker must not be flooded.
  get #arrived() {
    return this.#how.qos === 0 ? this.#next.pushed : this.answered;
  }

  get #next() {
    return Subscriber.#ring[(this.#id + 1) % Subscriber.#ring.length];
  }

  async #connect() {
    const { isAsleep, isSession, hesitates } = this.#how;
    this.#client = await mqtt.connectAsync(this.#address, {
      clientId: `client-${this.#id}`,
      clean: !isAsleep && !isSession,
      // A busy machine must not look like a broker that has lost its clients.
      keepalive: 20,
      reconnectPeriod: 0,
      will: { topic: `wills/${this.#id}`, payload: 'its will', qos: 1, retain: false },
      ...(hesitates ? { customHandleAcks: hesitate } : {}),
    });
    this.#client.on('message', (topic, payload) => this.#hear(topic, String(payload)));
    this.#client.on('error', (error) => this.#problem(String(error)));
    this.#client.on('close', () => this.#how.isAsleep || this.#problem('its connection was closed'));
  }

  #send() {
    const n = this.#sent++;
    const { qos } = this.#how;
    const text = `${n} ${performance.now()} ${textOf(this.#id, n)}`;
    const sent = [
      this.#client.publishAsync(`to/${this.#next.#id}`, text, { qos }),
      this.#client.publishAsync(`last/${this.#id}`, String(n), { qos, retain: true }),
    ];
    Promise.all(sent).then(
      () => {
        this.answered += 1;
        this.#tell();
      },
      (error) => this.#problem(String(error)),
    );
  }

  #hear(topic, payload) {
    // The broker says who has passed it on.
    const text = payload.replace(/ by generation \d+$/, '');
    if (topic.startsWith('wills/')) this.#problem(`heard the will of ${topic}`);
    else if (topic.startsWith('last/')) this.#retained = text;
    else this.#take(text);
    this.#tell();
  }

  #take(text) {
    const [n, sentAtMs] = text.split(' ', 2);
    const from = this.#id === 0 ? Subscriber.#ring.length - 1 : this.#id - 1;
    if (text === `${this.pushed} ${sentAtMs} ${textOf(from, this.pushed)}`) {
      if (!this.#how.isAsleep) this.longestMs = Math.max(this.longestMs, performance.now() - sentAtMs);
      this.pushed += 1;
      Subscriber.#ring.at(this.#id - 1).#tell();
    } else this.#problem(`expected message ${this.pushed}, received ${n}`);
  }

  #tell() {
    for (const resolve of this.#waiting) resolve();
  }

  async #until(what, holds) {
    const giveUpAtMs = performance.now() + TIMEOUT_MS;
    while (!holds() && this.problems.length === 0) {
      const leftMs = giveUpAtMs - performance.now();
      if (leftMs <= 0) this.#problem(`waited ${TIMEOUT_MS} ms until ${what}; has heard ${this.pushed}`);
      await new Promise((resolve) => {
        this.#waiting.add(resolve);
        setTimeout(resolve, leftMs).unref();
      });
      this.#waiting.clear();
    }
  }

  #problem(what) {
    if (this.problems.length < 3) this.problems.push(`client ${this.#id} (${this.#kind}): ${what}`);
    this.#tell();
  }
}

/** Acknowledges after a while, so that a message of QoS 2 is in flight over the restart. */
function hesitate(_topic, _message, _packet, done) {
  setTimeout(() => done(0), Math.random() * LONGEST_HESITATION_MS);
}

/** The kinds of clients, by name; they take turns. What is sent to one asleep must be kept: QoS 2 comes before it. */
export const subscribers = {
  'QoS 0': { qos: 0 },
  'QoS 1': { qos: 1 },
  'QoS 2': { qos: 2 },
  'QoS 2, acknowledges late': { qos: 2, hesitates: true },
  'session, QoS 1': { qos: 1, isSession: true },
  'session, QoS 2, acknowledges late': { qos: 2, isSession: true, hesitates: true },
  'session, asleep': { isAsleep: true },
};
