import type { Line } from '../../channel/line.js';
import { type ErrorReport, MoultError } from '../../errors.js';
import { Deadline } from '../../os/deadline.js';
import type { GenerationState, Message, Settings } from '../../protocol/messages.js';

/** What a service may be asked to tell of itself. */
export type StateQuestion = Omit<Message<'ask-state'>, 'type' | 'id'>;

/** What a service answers to a look: what it listens on, and has closed. */
export type LookAnswer = Pick<Message<'looking'>, 'listeners' | 'closed' | 'late' | 'accepted' | 'processes'>;

/** The generation that is asked. */
export interface AskedGeneration {
  readonly number: number;
  /** The channel to its service, once it has shown itself. */
  readonly lifeline: Line | undefined;
}

/** What a service is asked, and has not answered yet. Each question throws MOULT_PEER_CLOSED and MOULT_PEER_TIMEOUT. */
export class ServiceQuestions {
  readonly #asked: AskedGeneration;
  /** Those that have asked the same wait in turn: its answers come in the order in which they were asked. */
  readonly #waiting = new Map<string, ((answer: unknown) => void)[]>();
  #id = 0;
  #lookId = 0;
  #seen: (listener: string) => void = () => {};

  constructor(asked: AskedGeneration) {
    this.#asked = asked;
  }

  /** Hears the answers of this channel. They may come after their question was given up; they must not be out of order then. */
  heed(lifeline: Line): void {
    lifeline.on('looking', (looking) => this.#answer(`looking ${looking.id}`, looking));
    lifeline.on('seen', ({ id, listener }) => {
      if (id === this.#lookId) this.#seen(listener);
    });
    lifeline.on('state', ({ id, state }) => this.#answer(`state ${id}`, state));
    lifeline.on('members-door', ({ id, path }) => this.#answer(`members ${id}`, path));
    lifeline.on('output-renewed', ({ id }) => this.#answer(`output ${id}`, undefined));
    lifeline.on('gave', ({ moved }) => this.#answer('gave', moved));
    lifeline.on('expecting', ({ generation, error }) => this.#answer(`expecting ${generation}`, error));
  }

  /** How it does. */
  state(timeoutMs: number, wanted: StateQuestion): Promise<GenerationState> {
    const id = ++this.#id;
    return this.#ask(`state ${id}`, timeoutMs, (lifeline) =>
      lifeline.send({ type: 'ask-state', id, ...wanted }),
    ) as Promise<GenerationState>;
  }

  /** Where other processes of its tree join it; null where they cannot. */
  membersDoor(timeoutMs: number): Promise<string | null> {
    const id = ++this.#id;
    return this.#ask(`members ${id}`, timeoutMs, (lifeline) =>
      lifeline.send({ type: 'ask-members-door', id }),
    ) as Promise<string | null>;
  }

  /** Announces connections that are no client's, in place of those that were announced for the same look. */
  look(
    probes: Message<'look'>['probes'],
    seen: (listener: string) => void,
    timeoutMs: number,
  ): Promise<LookAnswer> {
    if (this.#lookId === 0) this.#lookId = ++this.#id;
    const id = this.#lookId;
    this.#seen = seen;
    return this.#ask(`looking ${id}`, timeoutMs, (lifeline) =>
      lifeline.send({ type: 'look', id, probes }),
    ) as Promise<LookAnswer>;
  }

  /** None of those connections comes any more. */
  lookIsOver(): void {
    this.#asked.lifeline?.send({ type: 'look', id: this.#lookId, probes: [] });
    this.#lookId = 0;
    this.#seen = () => {};
  }

  /** To write to this process's output from its next line on. */
  async renewOutput(timeoutMs: number): Promise<void> {
    const id = ++this.#id;
    await this.#ask(`output ${id}`, timeoutMs, (lifeline) =>
      lifeline.send({ type: 'renew-output', id }, [1, 2]),
    );
  }

  /** To give so many connections to the one behind this door. @returns how many have moved. */
  give(door: string, count: number, timeoutMs: number): Promise<number> {
    return this.#ask('gave', timeoutMs, (lifeline) =>
      lifeline.send({ type: 'give', door, count }),
    ) as Promise<number>;
  }

  /** To listen at a socket that is bound at the path of its own, which was removed. @param fd stays the caller's. */
  async takeDoor(path: string, fd: number, timeoutMs: number): Promise<void> {
    await this.#ask('door', timeoutMs, (lifeline) => lifeline.send({ type: 'take-door', path }, [fd]));
  }

  /** It has told where it listens. */
  toldDoor(): void {
    this.#answer('door', undefined);
  }

  /** To expect a successor. @returns why it does not. */
  expect(generation: number, settings: Settings, timeoutMs: number): Promise<ErrorReport | undefined> {
    return this.#ask(`expecting ${generation}`, timeoutMs, (lifeline) =>
      lifeline.send({ type: 'expect', generation, settings }),
    ) as Promise<ErrorReport | undefined>;
  }

  /** @param question by which its answer is known. An answer that comes after the time-out is heard by nobody. */
  #ask(question: string, timeoutMs: number, send: (lifeline: Line) => void): Promise<unknown> {
    const { number, lifeline } = this.#asked;
    return new Promise((resolve, reject) => {
      if (lifeline === undefined || lifeline.isClosed) {
        const what = `generation ${number} has no connection to its supervisor`;
        reject(new MoultError('MOULT_PEER_CLOSED', what));
        return;
      }
      const limit = new Deadline(timeoutMs, () => {
        const others = this.#waiting.get(question)?.filter((one) => one !== answered) ?? [];
        this.#wait(question, others);
        const what = 'it is stopped, or its event loop is blocked';
        const message = `generation ${number} did not answer within ${timeoutMs} ms: ${what}`;
        reject(new MoultError('MOULT_PEER_TIMEOUT', message));
      });
      const answered = (answer: unknown) => {
        limit.clear();
        resolve(answer);
      };
      this.#wait(question, [...(this.#waiting.get(question) ?? []), answered]);
      lifeline.closed.then(() => {
        limit.clear();
        reject(new MoultError('MOULT_PEER_CLOSED', `generation ${number} was lost before it answered`));
      });
      send(lifeline);
    });
  }

  #wait(question: string, those: ((answer: unknown) => void)[]): void {
    if (those.length > 0) this.#waiting.set(question, those);
    else this.#waiting.delete(question);
  }

  #answer(question: string, answer: unknown): void {
    const [first, ...others] = this.#waiting.get(question) ?? [];
    this.#wait(question, others);
    first?.(answer);
  }
}
