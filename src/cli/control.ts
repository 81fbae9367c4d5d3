import type { Channel } from '../channel/channel.js';
import { Opening } from '../channel/open.js';
import { MoultError } from '../errors.js';
import type { Message } from '../protocol/messages.js';
import { RunFolder } from '../supervisor/run-folder.js';

const OPENING_TIMEOUT_MS = 5000;
/** Longer than any restart: the supervisor itself keeps the deadlines. */
const ANSWER_TIMEOUT_MS = 24 * 3_600_000;

/**
 * The service that a command means: the one named, or the only one that runs.
 * @throws MOULT_NOT_RUNNING, MOULT_AMBIGUOUS_NAME
 */
export function findService(name: string | undefined): RunFolder {
  if (name !== undefined) {
    const folder = new RunFolder(name);
    if (folder.isClaimed()) return folder;
    const running = RunFolder.running();
    const others = running.length === 0 ? 'no service runs' : `running now: ${running.join(', ')}`;
    throw new MoultError('MOULT_NOT_RUNNING', `expected a running service named ${name}; ${others}`);
  }
  const running = RunFolder.running();
  const [only, ...more] = running;
  if (only === undefined)
    throw new MoultError('MOULT_NOT_RUNNING', 'no service of this user runs under moult');
  if (more.length > 0)
    throw new MoultError('MOULT_AMBIGUOUS_NAME', `several services run: ${running.join(', ')}`);
  return new RunFolder(only);
}

/** Asks the supervisor of a service one thing, and returns its answer. @throws what it answered with. */
export async function ask(
  folder: RunFolder,
  question: Message<'restart' | 'rollback' | 'scale' | 'history' | 'upgrade' | 'stop' | 'status'>,
  onEvent: (event: Record<string, unknown>) => void = () => {},
): Promise<Record<string, unknown>> {
  const channel = connect(folder);
  try {
    channel.on('event', ({ event }) => onEvent(event));
    const answer = channel.next(['result', 'refused'], ANSWER_TIMEOUT_MS);
    channel.send(question);
    const message = await answer;
    if (message.type === 'result' && message.ok) return message.value ?? {};
    throw MoultError.from(
      message.error ?? { code: 'MOULT_HANDOVER_ABORTED', message: 'the supervisor gave no reason' },
    );
  } finally {
    channel.close();
  }
}

function connect(folder: RunFolder): Channel {
  return new Opening(folder.control, { role: 'operator' }, OPENING_TIMEOUT_MS).toChannel();
}
