import { InvalidArgumentError } from 'commander';
import { Cron } from 'croner';

/** A pattern of cron, with seconds if it has six fields; in the time of this machine. */
export function cronPattern(value: string): string {
  try {
    new Cron(value, { paused: true });
    return value;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new InvalidArgumentError(`Expected a schedule such as "0 4 * * *", received "${value}": ${why}`);
  }
}
