import { availableParallelism, constants } from 'node:os';
import { InvalidArgumentError } from 'commander';
import { type EndpointAddress, parseEndpoint } from '../../endpoint/address.js';
import { MAX_SLOTS } from '../../protocol/limits.js';

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** A time such as `500ms`, `30s`, `2m` or `1h`; a bare number is in seconds. Milliseconds. */
export function duration(value: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h)?$/.exec(value);
  const unit = UNITS[match?.[2] ?? 's'];
  if (match === null || unit === undefined) {
    throw new InvalidArgumentError(`Expected a time such as 500ms, 30s or 2m, received "${value}".`);
  }
  return Number(match[1]) * unit;
}

/** The name of a signal, with or without SIG, in any case. */
export function signalName(value: string): NodeJS.Signals {
  const upper = value.toUpperCase();
  const name = upper.startsWith('SIG') ? upper : `SIG${upper}`;
  if (!(name in constants.signals)) {
    throw new InvalidArgumentError(`Expected the name of a signal such as SIGTERM, received "${value}".`);
  }
  return name as NodeJS.Signals;
}

/** One of a few words. */
export function oneOf<T extends string>(...words: readonly T[]): (value: string) => T {
  return (value) => {
    const found = words.find((word) => word === value);
    if (found === undefined)
      throw new InvalidArgumentError(`Expected ${words.join(' or ')}, received "${value}".`);
    return found;
  };
}

/** Milliseconds as a person reads them. */
export function showMs(ms: number): string {
  if (ms >= 1000 && ms % 1000 === 0) return `${ms / 1000} s`;
  if (ms >= 10_000) return `${(ms / 1000).toFixed(1)} s`;
  return ms >= 10 ? `${Math.round(ms)} ms` : `${ms.toFixed(1)} ms`;
}

/** A whole number from 0 on. */
export function wholeNumber(value: string): number {
  if (!/^\d+$/.test(value)) throw new InvalidArgumentError(`Expected a whole number, received "${value}".`);
  return Number(value);
}

/** A whole number from 1 on. */
export function positiveNumber(value: string): number {
  const number = wholeNumber(value);
  if (number === 0) throw new InvalidArgumentError(`Expected a whole number from 1 on, received "${value}".`);
  return number;
}

/** How many processes share a service: a number, or `max` for as many as there are cores. */
export function slotNumber(value: string): number {
  if (value === 'max') return Math.min(MAX_SLOTS, availableParallelism());
  const number = /^\d+$/.test(value) ? Number(value) : 0;
  if (number >= 1 && number <= MAX_SLOTS) return number;
  throw new InvalidArgumentError(`Expected 1 to ${MAX_SLOTS} or max, received "${value}".`);
}

/** A share such as `0.05` or `5%`, as a number from 0 to 1. */
export function share(value: string): number {
  const match = /^(\d+(?:\.\d+)?)(%)?$/.exec(value);
  const number = Number(match?.[1]) / (match?.[2] === undefined ? 1 : 100);
  if (match === null || number > 1) {
    throw new InvalidArgumentError(`Expected a share such as 5% or 0.05, received "${value}".`);
  }
  return number;
}

const SIZES: Readonly<Record<string, number>> = { k: 2 ** 10, m: 2 ** 20, g: 2 ** 30 };

/** A size such as `200M` or `1G`; a bare number is in bytes. Bytes. */
export function size(value: string): number {
  const match = /^(\d+)([kmg])?b?$/i.exec(value);
  if (match === null)
    throw new InvalidArgumentError(`Expected a size such as 200M or 1G, received "${value}".`);
  return Number(match[1]) * (SIZES[match[2]?.toLowerCase() ?? ''] ?? 1);
}

/** Statuses such as `200` or `200-399`. */
export function statusRange(value: string): readonly [number, number] {
  const match = /^([1-5]\d\d)(?:-([1-5]\d\d))?$/.exec(value);
  if (match === null) {
    throw new InvalidArgumentError(`Expected a status or a range such as 200-399, received "${value}".`);
  }
  return [Number(match[1]), Number(match[2] ?? match[1])];
}

/** Where something of moult's own is to listen: `127.0.0.1:9464`, a port alone, or `unix:/run/x.sock`. */
export function endpoint(value: string): EndpointAddress {
  const address = parseEndpoint(value, process.cwd());
  if (address !== undefined) return address;
  throw new InvalidArgumentError(
    `Expected an address such as 127.0.0.1:9464, 9464 or unix:/run/x.sock, received "${value}".`,
  );
}

/** A program that is handed events, `exec:COMMAND`: its command. */
export function eventProgram(value: string): string {
  const command = /^exec:(.*\S.*)$/s.exec(value)?.[1];
  if (command !== undefined) return command;
  throw new InvalidArgumentError(`Expected exec: and a command, received "${value}".`);
}

/** The path of a URL, such as `/readyz`. */
export function requestPath(text: string): string {
  if (/^\/[^\s?#]{0,1000}$/.test(text)) return text;
  throw new InvalidArgumentError(
    `Expected a path that begins with /, without ?, such as /readyz, received "${text}".`,
  );
}
