import { setTimeout as pause } from 'node:timers/promises';
import { textOf } from '../../test/fixtures/services/numbered.mjs';

/** So many messages may be without an answer; the next waits. */
const WINDOW = 3;
/** What is slow is not lost: on a busy machine an answer may take long. */
const ANSWER_TIMEOUT_MS = 120_000;

/** One client that sends numbered messages, and checks every answer and every message that comes unasked. */
export class Talker {
  answered = 0;
  pushed = 0;
  sent = 0;
  longestMs = 0;
  /** What was not as it must be; the first things only. */
  problems = [];
  #id;
  #kind;
  #transport;
  #thinkMs;
  #isStopped = false;
  #sentAtMs = [];
  #waiting;

  constructor(id, kind, make, target, thinkMs) {
    this.#id = id;
    this.#kind = kind;
    this.#thinkMs = thinkMs;
    this.#transport = make(
      { ...target, id },
      { text: (text) => this.#hear(text), end: (why) => this.#problem(why) },
    );
  }

  async run() {
    await this.#transport.open();
    while (!this.#isStopped && this.problems.length === 0) {
      const n = this.sent++;
      this.#sentAtMs.push(performance.now());
      try {
        await this.#transport.send(`${n} ${textOf(this.#id, n)}`);
      } catch (error) {
        this.#problem(String(error));
      }
      await this.#until(() => this.sent - this.answered < WINDOW);
      await pause(Math.random() * 2 * this.#thinkMs);
    }
  }

  /** Sends no more; waits for every answer. */
  async finish(running) {
    this.#isStopped = true;
    await running;
    await this.#until(() => this.answered === this.sent);
    this.#transport.close();
  }

  async #until(holds) {
    const giveUpAtMs = performance.now() + ANSWER_TIMEOUT_MS;
    while (!holds() && this.problems.length === 0) {
      const leftMs = giveUpAtMs - performance.now();
      if (leftMs <= 0) {
        this.#problem(
          `no answer to message ${this.answered} within ${ANSWER_TIMEOUT_MS} ms; ${this.sent} were sent`,
        );
        return;
      }
      await new Promise((resolve) => {
        this.#waiting = resolve;
        setTimeout(resolve, leftMs).unref();
      });
    }
  }

  #hear(text) {
    if (text.startsWith('p ')) {
      if (text === `p ${this.pushed}`) this.pushed += 1;
      else this.#problem(`expected push ${this.pushed}, received ${text.slice(0, 60)}`);
    } else if (text === `a ${this.answered} ${textOf(this.#id, this.answered)}`) {
      this.longestMs = Math.max(this.longestMs, performance.now() - this.#sentAtMs.shift());
      this.answered += 1;
    } else this.#problem(`expected the answer to ${this.answered}, received ${text.slice(0, 100)}`);
    this.#waiting?.();
  }

  #problem(what) {
    if (this.problems.length < 3) this.problems.push(`client ${this.#id} (${this.#kind}): ${what}`);
    this.#waiting?.();
  }
}
