import { Option } from 'commander';
import { duration, showMs } from '../../config/options/values.js';

export {
  oneOf,
  positiveNumber,
  share,
  showMs,
  size,
  slotNumber,
  wholeNumber,
} from '../../config/options/values.js';

/** Adds a value to those that were given before. */
export function collect(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}

/** An option that takes a time, with its default as a person writes it. */
export function timeOption(flags: string, description: string, defaultMs: number): Option {
  return new Option(flags, description)
    .argParser(duration)
    .default(defaultMs, defaultMs === 0 ? '0' : showMs(defaultMs));
}
