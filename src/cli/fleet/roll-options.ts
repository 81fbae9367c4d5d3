import { InvalidArgumentError } from 'commander';
import type { Amount, Canaries } from '../../fleet/roll/plan.js';

/** A number of hosts, or a share of all such as `10%`. */
export function amount(value: string): Amount {
  const found = /^(\d+)(%?)$/.exec(value);
  const number = Number(found?.[1]);
  if (found === null || number === 0 || (found[2] === '%' && number > 100))
    throw new InvalidArgumentError(`Expected a number of hosts or a share such as 10%, received "${value}".`);
  return found[2] === '%' ? { share: number / 100 } : { hosts: number };
}

/** Which hosts are canaries: an amount, labels such as `zone=a`, `each:zone`, or `none`. */
export function canaries(value: string): Canaries {
  if (value === 'none') return 'none';
  const each = /^each:([\w.-]+)$/.exec(value)?.[1];
  if (each !== undefined) return { each };
  if (value.includes('=')) return { labels: labels(value) };
  try {
    return amount(value);
  } catch {
    throw new InvalidArgumentError(
      `Expected a number of hosts, a share such as 10%, labels such as zone=a, each:LABEL or none, received "${value}".`,
    );
  }
}

/** Labels such as `zone=a,rack=3`. */
export function labels(value: string): Record<string, string> {
  const pairs = value.split(',').map((pair) => /^([\w.-]+)=([\w.-]+)$/.exec(pair));
  if (pairs.includes(null))
    throw new InvalidArgumentError(`Expected labels such as zone=a,rack=3, received "${value}".`);
  return Object.fromEntries(pairs.map((pair) => [pair?.[1] ?? '', pair?.[2] ?? '']));
}

/** The id of a release. */
export function release(value: string): string {
  if (/^[A-Za-z0-9][A-Za-z0-9._:@/+-]{0,127}$/.test(value)) return value;
  throw new InvalidArgumentError(
    `Expected 1 to 128 letters, digits or one of . _ : @ / + - received "${value}".`,
  );
}

/** How many times as long, from 1 on. */
export function factor(value: string): number {
  const number = Number(value);
  if (Number.isFinite(number) && number >= 1) return number;
  throw new InvalidArgumentError(`Expected a number from 1 on, received "${value}".`);
}
