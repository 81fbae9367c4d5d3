import { MoultError } from '../../errors.js';

let hasWarned = false;

/**
 * A function for the place of one that sends on a connection: it tells its caller that the connection has moved,
 * through the callback, or where there is none by one warning for the process.
 * @param what of the service tried it, for people.
 */
export function refuseLate(what: string): (...args: unknown[]) => false {
  return (...args) => {
    const error = new MoultError(
      'MOULT_CONNECTION_MOVED',
      `${what}: the connection has moved to another generation`,
    );
    const callback = args.findLast((arg) => typeof arg === 'function') as ((e: Error) => void) | undefined;
    if (callback !== undefined) process.nextTick(callback, error);
    else if (!hasWarned) {
      hasWarned = true;
      process.emitWarning(error.message, { type: 'MoultWarning', code: error.code, detail: error.remedy });
    }
    return false;
  };
}
