import { libc } from '../os/libc.js';

let canCall: boolean | undefined;

/**
 * Whether this process can call libc, without which nothing changes hands. Where Node was told to load no addons it cannot:
 * that is said once, as a warning, and the service runs as it would alone.
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
    const { code, message } = error as NodeJS.ErrnoException;
    if (code !== 'ERR_DLOPEN_DISABLED') throw error;
    process.emitWarning(
      `${message} moult cannot pass this service's listeners on: it runs, and cannot be restarted. Start Node without --no-addons; with permissions, give --allow-addons (and --allow-net from Node 25 on)`,
      'MoultWarning',
    );
    return false;
  }
}
