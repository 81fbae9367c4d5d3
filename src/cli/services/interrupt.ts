import { tell } from '../../terminal/print.js';

/**
 * Has a Ctrl-C end the command alone from now on, with a word on what becomes of what it asked for.
 * @param what was asked for, such as `restart`.
 * @returns ends that.
 */
export function tellAtInterrupt(name: string, what: string): () => void {
  const end = (status: number) => () => {
    tell(`\nthe ${what} of ${name} continues; moult status ${name} shows its progress`);
    process.exit(status);
  };
  const [interrupted, ended] = [end(130), end(143)];
  process.once('SIGINT', interrupted).once('SIGTERM', ended);
  return () => void process.off('SIGINT', interrupted).off('SIGTERM', ended);
}
