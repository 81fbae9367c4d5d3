import type { Channel } from '../channel/channel.js';
import { openOperator } from '../channel/operator-channel.js';
import { ownersOf } from '../channel/private-folder.js';
import { MoultError } from '../errors.js';
import type { Message } from '../protocol/messages.js';
import type { RunFolder } from '../supervisor/journal/run-folder.js';

const OPENING_TIMEOUT_MS = 5000;
/** For what it knows already. */
const LOOK_TIMEOUT_MS = 5000;
/** Longer than any restart: the supervisor itself keeps the deadlines. */
const ACTION_TIMEOUT_MS = 24 * 3_600_000;

type Question = Message<'status' | 'history' | 'watch' | 'restart' | 'rollback' | 'scale'>;

/** Speaks to one supervisor as an operator does, one question at a time. */
export class SupervisorChannel {
  readonly #channel: Channel;

  private constructor(channel: Channel) {
    this.#channel = channel;
  }

  /** @param onEvent is called with what the supervisor tells between answers. @throws when nobody answers there. */
  static async open(
    folder: RunFolder,
    onEvent: (event: Record<string, unknown>) => void = () => {},
  ): Promise<SupervisorChannel> {
    const owners = ownersOf(folder.path, folder.control);
    const channel = await openOperator(folder.control, owners, OPENING_TIMEOUT_MS);
    channel.unref();
    channel.on('event', ({ event }) => onEvent(event));
    return new SupervisorChannel(channel);
  }

  /** @throws MoultError as the supervisor answered. */
  async ask(question: Question, timeoutMs = LOOK_TIMEOUT_MS): Promise<Record<string, unknown>> {
    const answer = this.#channel.next(['result', 'refused'], timeoutMs);
    this.#channel.send(question);
    const message = await answer;
    if (message.type === 'result' && message.ok) return message.value ?? {};
    const silent = { code: 'MOULT_HANDOVER_ABORTED', message: 'the supervisor gave no reason' };
    throw MoultError.from(message.error ?? silent);
  }

  close(): void {
    this.#channel.close();
  }
}

/** Has a supervisor do something, over a channel of its own. @throws MoultError as it answered. */
export async function act(
  folder: RunFolder,
  question: Message<'restart' | 'rollback' | 'scale'>,
): Promise<Record<string, unknown>> {
  const channel = await SupervisorChannel.open(folder);
  try {
    return await channel.ask(question, ACTION_TIMEOUT_MS);
  } finally {
    channel.close();
  }
}
