import { MoultError } from '../errors.js';

/**
 * Settles as the promise does, or fails when it has not settled in time.
 * @param what was to be reached, as in "the queue orders at RabbitMQ".
 * @throws MOULT_BROKER_UNREACHABLE; also for what the promise rejects with, which is then the cause.
 */
export async function withTimeout<T>(promise: PromiseLike<T>, ms: number, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } catch (error) {
    throw unreachable(what, error);
  } finally {
    clearTimeout(timer);
  }
}

/** That a message service was not reached; one that says so already stays as it is. */
export function unreachable(what: string, cause: unknown): MoultError {
  if (cause instanceof MoultError) return cause;
  return new MoultError('MOULT_BROKER_UNREACHABLE', `${what}: ${reasonOf(cause)}`, { cause });
}

/** One that Node makes of several addresses has no message of its own. */
function reasonOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === '') return error.errors.map(reasonOf).join('; ');
  return error instanceof Error ? error.message || error.name : String(error);
}

/** Settles when the promise does; or a while after the deadline, since by then all that was in hand is given back. */
export async function settledSoonAfter(
  signal: AbortSignal,
  promise: PromiseLike<unknown>,
  what: string,
): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  let give: (() => void) | undefined;
  const late = new Promise<never>((_, reject) => {
    give = () => {
      timer = setTimeout(() => reject(notSettled(what)), GRACE_MS);
    };
    if (signal.aborted) give();
    else signal.addEventListener('abort', give, { once: true });
  });
  try {
    await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
    if (give !== undefined) signal.removeEventListener('abort', give);
  }
}

/** How long a message service has to confirm what it was told at the deadline. */
const GRACE_MS = 1000;

function notSettled(what: string): MoultError {
  return new MoultError(
    'MOULT_NOT_SETTLED',
    `${what}: expected it to take back the messages in progress, received no answer`,
  );
}
