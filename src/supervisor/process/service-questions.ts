import type { Line } from '../../channel/line.js';
import { MoultError } from '../../errors.js';
import { Deadline } from '../../os/deadline.js';
import type { Message } from '../../protocol/messages.js';

/** What a service may be asked to tell of itself. */
export type StateQuestion = Omit<Message<'ask-state'>, 'type' | 'id'>;

/** The generation that is asked. */
export interface AskedGeneration {
  readonly number: number;
  /** The channel to its service, once it has shown itself. */
  readonly lifeline: Line | undefined;
}

/** Questions to a service that it has not answered yet. */
export class ServiceQuestions {
  readonly #asked: AskedGeneration;
  readonly #waiting = new Map<string, (answer: unknown) => void>();

  constructor(asked: AskedGeneration) {
    this.#asked = asked;
  }

  /**
   * Asks. An answer that comes after the time-out is heard by nobody.
   * @param question by which its answer is known.
   * @throws MOULT_PEER_CLOSED, MOULT_PEER_TIMEOUT
   */
  ask(question: string, timeoutMs: number, send: (lifeline: Line) => void): Promise<unknown> {
    const { number, lifeline } = this.#asked;
    return new Promise((resolve, reject) => {
      if (lifeline === undefined || lifeline.isClosed) {
        const what = `generation ${number} has no connection to its supervisor`;
        reject(new MoultError('MOULT_PEER_CLOSED', what));
        return;
      }
      const limit = new Deadline(timeoutMs, () => {
        this.#waiting.delete(question);
        const what = 'it is stopped, or its event loop is blocked';
        const message = `generation ${number} did not answer within ${timeoutMs} ms: ${what}`;
        reject(new MoultError('MOULT_PEER_TIMEOUT', message));
      });
      this.#waiting.set(question, (answer) => {
        limit.clear();
        resolve(answer);
      });
      lifeline.closed.then(() => {
        limit.clear();
        reject(new MoultError('MOULT_PEER_CLOSED', `generation ${number} was lost before it answered`));
      });
      send(lifeline);
    });
  }

  /** The answer has come. */
  answer(question: string, answer: unknown): void {
    this.#waiting.get(question)?.(answer);
    this.#waiting.delete(question);
  }
}
