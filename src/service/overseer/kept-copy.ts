import { inspect } from 'node:util';
import { KeptOutput } from '../../logs/kept-output.js';
import { hearWrites } from '../../node/output-hook.js';

let isKept = false;

/**
 * Keeps a copy of what this process writes from now on in the run folder, for `moult logs`: it does not come through the
 * supervisor any more. Only the first call counts.
 */
export function keepCopy(path: string): void {
  if (isKept) return;
  isKept = true;
  const kept = new KeptOutput(path);
  hearWrites((stream, chunk) => kept.add(stream, chunk));
  // Node says this itself, natively.
  process.on('uncaughtExceptionMonitor', (error) => kept.add('stderr', `Uncaught ${inspect(error)}\n`));
  process.on('exit', () => kept.end());
}
