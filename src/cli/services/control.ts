import type { Channel } from '../../channel/channel.js';
import { openOperator } from '../../channel/operator-channel.js';
import { ownersOf } from '../../channel/private-folder.js';
import { MoultError } from '../../errors.js';
import type { Message } from '../../protocol/messages.js';
import type { RunFolder } from '../../supervisor/journal/run-folder.js';
import { tellAtInterrupt } from './interrupt.js';

export { findService } from './services.js';

const OPENING_TIMEOUT_MS = 5000;
/** Longer than any restart: the supervisor itself keeps the deadlines. */
const ANSWER_TIMEOUT_MS = 24 * 3_600_000;
/** For what it knows already. */
const LOOK_TIMEOUT_MS = 5000;

type Question = Message<
  | 'restart'
  | 'rollback'
  | 'scale'
  | 'history'
  | 'upgrade'
  | 'stop'
  | 'status'
  | 'metrics'
  | 'dashboard'
  | 'reopen-output'
>;

/** How long to wait before it is asked again whose program is just being replaced, and how often: an upgrade takes no second. */
const AGAIN_MS = 100;
const MOST_TIMES = 50;
/** Changes nothing, so it may be asked again after the connection broke. */
const HARMLESS = ['status', 'history'];

/** What goes on in the supervisor when the command that asked for it is ended. */
const LASTING: Partial<Record<Question['type'], string>> = {
  restart: 'restart',
  rollback: 'rollback',
  scale: 'change',
  upgrade: 'upgrade',
  stop: 'stop',
  'reopen-output': 'change of files',
};

/**
 * Asks the supervisor of a service one thing, and returns its answer; in the moment of an upgrade that of its next program.
 * @param afterwards is waited for before the channel is closed.
 * @throws what it answered with.
 */
export async function ask(
  folder: RunFolder,
  question: Question,
  onEvent: (event: Record<string, unknown>) => void = () => {},
  afterwards: (channel: Channel) => Promise<void> = async () => {},
): Promise<Record<string, unknown>> {
  for (let times = 1; ; times += 1) {
    try {
      return await askOnce(folder, question, onEvent, afterwards);
    } catch (error) {
      if (times === MOST_TIMES || !isReplaced(error, question)) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
  }
}

/** Errors that no supervisor has answered with. */
const unanswered = new WeakSet<object>();

/** Whether {@link ask} threw this because the supervisor could not be reached, or ended before it had answered. */
export function isUnanswered(error: unknown): boolean {
  return typeof error === 'object' && error !== null && unanswered.has(error);
}

// Who connects while the program is replaced waits in its queue; only who was connected before is here.
function isReplaced(error: unknown, { type }: Question): boolean {
  if (!(error instanceof MoultError)) return false;
  return (
    error.details?.isReplaced === true || (error.code === 'MOULT_PEER_CLOSED' && HARMLESS.includes(type))
  );
}

async function askOnce(
  folder: RunFolder,
  question: Question,
  onEvent: (event: Record<string, unknown>) => void,
  afterwards: (channel: Channel) => Promise<void>,
): Promise<Record<string, unknown>> {
  const owners = ownersOf(folder.path, folder.control);
  const channel = await openOperator(folder.control, owners, OPENING_TIMEOUT_MS).catch(withoutAnswer);
  let heedInterrupts = () => {};
  try {
    channel.on('event', ({ event }) => onEvent(event));
    const what = LASTING[question.type];
    const answer = channel.next(
      ['result', 'refused'],
      what === undefined ? LOOK_TIMEOUT_MS : ANSWER_TIMEOUT_MS,
    );
    channel.send(question);
    if (what !== undefined) heedInterrupts = tellAtInterrupt(folder.name, what);
    const message = await answer.catch(withoutAnswer);
    if (message.type === 'result' && message.ok) {
      await afterwards(channel);
      return message.value ?? {};
    }
    throw MoultError.from(
      message.error ?? { code: 'MOULT_HANDOVER_ABORTED', message: 'the supervisor gave no reason' },
    );
  } finally {
    heedInterrupts();
    channel.close();
  }
}

function withoutAnswer(error: unknown): never {
  if (typeof error === 'object' && error !== null) unanswered.add(error);
  throw error;
}
