import { textOf } from '../../test/fixtures/services/numbered.mjs';

/** What is slow is not lost: on a busy machine an event may take long. */
const EVENT_TIMEOUT_MS = 120_000;

/** One client that follows a stream of numbered events, and checks every one of them. */
export class Listener {
  answered = 0;
  pushed = 0;
  longestMs = 0;
  /** What was not as it must be; the first things only. */
  problems = [];
  #id;
  #kind;
  #stream;
  #heardAtMs;
  #waiting;
  #text = '';

  constructor(id, kind, make, target) {
    this.#id = id;
    this.#kind = kind;
    this.#stream = make(
      { ...target, id },
      {
        text: (chunk) => this.#take(chunk),
        lastId: () => this.pushed - 1,
        end: (why) => this.#problem(why),
      },
    );
  }

  async run() {
    await this.#stream.open();
    await this.#hears(1);
  }

  /** Waits until it has heard more; closes then. */
  async finish(running) {
    await running;
    await this.#hears(this.pushed + 3);
    this.#stream.close();
  }

  async #hears(count) {
    const giveUpAtMs = performance.now() + EVENT_TIMEOUT_MS;
    while (this.pushed < count && this.problems.length === 0) {
      const leftMs = giveUpAtMs - performance.now();
      if (leftMs <= 0) this.#problem(`no event ${this.pushed} within ${EVENT_TIMEOUT_MS} ms`);
      await new Promise((resolve) => {
        this.#waiting = resolve;
        setTimeout(resolve, leftMs).unref();
      });
    }
  }

  #take(chunk) {
    const events = (this.#text + chunk).split('\n\n');
    this.#text = events.pop() ?? '';
    for (const event of events) this.#hear(event);
  }

  #hear(event) {
    const n = this.pushed;
    if (event !== `id: ${n}\ndata: ${textOf(this.#id, n)}`) {
      this.#problem(`expected event ${n}, received ${event.slice(0, 60)}`);
      return;
    }
    const nowMs = performance.now();
    this.longestMs = Math.max(this.longestMs, nowMs - (this.#heardAtMs ?? nowMs));
    this.#heardAtMs = nowMs;
    this.pushed += 1;
    this.#waiting?.();
  }

  #problem(what) {
    if (this.problems.length < 3) this.problems.push(`client ${this.#id} (${this.#kind}): ${what}`);
    this.#waiting?.();
  }
}
