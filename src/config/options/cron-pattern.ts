import { InvalidArgumentError } from 'commander';
import { Cron } from 'croner';

/** A pattern of cron, with seconds if it has six fields; in the time of this machine. */
export function cronPattern(value: string): string {
  try {
    if (new Cron(value, { paused: true }).nextRun() === null) throw new Error('it never comes');
    return value;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new InvalidArgumentError(`Expected a schedule such as "0 4 * * *", received "${value}": ${why}`);
  }
}
