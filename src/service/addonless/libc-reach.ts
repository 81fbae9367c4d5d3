import { MoultError } from '../../errors.js';
import { libc } from '../../os/libc.js';

let canCall: boolean | undefined;

/**
 * Whether this process can call libc, without which it cannot pass descriptors. Where Node was told to load no addons, or
 * there is none for its libc, it cannot: that is said once, as a warning, and restarts drain.
 */
export function canCallLibc(): boolean {
  canCall ??= tryToCall();
  return canCall;
}

function tryToCall(): boolean {
  try {
    libc();
    return true;
  } catch (error) {
    if (error instanceof MoultError) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    const remedy =
      code === 'ERR_DLOPEN_DISABLED'
        ? ' Start Node without --no-addons; with permissions, give --allow-addons (and --allow-net from Node 25 on)'
        : '';
    process.emitWarning(
      `${message} moult cannot move connections of this process: a restart drains them, and clients reach the new release when they reconnect.${remedy}`,
      'MoultWarning',
    );
    return false;
  }
}
