import type { Logger } from 'pino';
import { hasTerminal, wasToldToIgnoreHangUps } from '../os/processes/hang-up.js';

/** A shell passes a hang-up on before the kernel has taken the terminal away. */
const SETTLE_MS = 300;
/** Kernel and shell may both tell of the same end of a terminal. */
const SAME_END_MS = 3000;

/**
 * Heeds SIGHUP: a restart, but not where whoever started this process had it ignored (`nohup`), and not where it says that
 * the terminal is gone: then the service goes on.
 * @returns ends that.
 */
export function heedHangUps(log: Logger, restart: () => void): () => void {
  const isIgnored = wasToldToIgnoreHangUps();
  let hadTerminal = hasTerminal();
  let endedAt = Number.NEGATIVE_INFINITY;
  let timer: NodeJS.Timeout | undefined;
  const settle = () => {
    timer = undefined;
    if (hasTerminal()) {
      restart();
      return;
    }
    hadTerminal = false;
    endedAt = performance.now();
    log.warn('the terminal was closed; the service keeps running, moult stop stops it');
  };
  const heed = () => {
    if (isIgnored) log.info('SIGHUP is ignored because of nohup or a trap; use moult restart');
    else if (hadTerminal) timer ??= setTimeout(settle, SETTLE_MS);
    else if (performance.now() - endedAt > SAME_END_MS) restart();
  };
  process.on('SIGHUP', heed);
  return () => {
    clearTimeout(timer);
    process.off('SIGHUP', heed);
  };
}
