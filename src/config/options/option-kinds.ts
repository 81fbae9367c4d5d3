import { InvalidArgumentError } from 'commander';
import { endpointText } from '../../endpoint/address.js';
import type { Check, Sticky } from '../../supervisor/options.js';
import { parseCheck } from '../../supervisor/restart/health-check.js';
import { cronPattern } from './cron-pattern.js';
import { withoutUserInfo } from './user-info.js';
import {
  duration,
  endpoint,
  eventProgram,
  oneOf,
  positiveNumber,
  requestPath,
  share,
  showMs,
  signalName,
  size,
  slotNumber,
  statusRange,
  wholeNumber,
} from './values.js';

/** What a value is in a config file, before it is read. */
export type Form =
  /** A number with a unit in a string, or a bare number. */
  | { readonly type: 'amount'; readonly examples: readonly string[] }
  | { readonly type: 'text'; readonly examples?: readonly string[] }
  /** Text, or an object that becomes text as JSON. */
  | { readonly type: 'text or settings' }
  | { readonly type: 'whole number'; readonly least: number }
  | { readonly type: 'switch' }
  | { readonly type: 'word'; readonly words: readonly string[] }
  /** A list, or the only member of one. */
  | { readonly type: 'texts' }
  | { readonly type: 'whole numbers' };

/** One kind of value: how it is written in a file, and how its text is read, there and on the command line. */
export interface OptionKind<Value = unknown, Written = unknown> {
  readonly form: Form;
  /** Reads one value; of a list one member. @throws InvalidArgumentError with what was expected */
  readonly read: (text: string) => unknown;
  /** Writes what was read, where that is not its own text. */
  readonly show?: (value: never) => string;
  /** What may be shown of what was written, where some of it may be secret. */
  readonly hide?: (written: unknown) => unknown;
  /** Only in the types: what it is once it is read, and what a file may hold. */
  readonly types?: { readonly value: Value; readonly written: Written };
}

type Amount = string | number;

const amount = <Value>(read: (text: string) => Value, ...examples: string[]): OptionKind<Value, Amount> => ({
  form: { type: 'amount', examples },
  read,
});

/** A time such as `30s`; milliseconds once it is read. */
export const time = { ...amount(duration, '500ms', '30s', '2m', '24h'), show: showMs };
/** A size such as `200M`; bytes once it is read. */
export const bytes = amount(size, '200M', '1G');
/** A share such as `5%`; from 0 to 1 once it is read. */
export const ratio = amount(share, '5%', '0.05');
/** Where something of moult's own listens. */
export const address = { ...amount(endpoint, '127.0.0.1:9464', 'unix:/run/api.sock'), show: endpointText };
/** How many slots: a number, or `max`. */
export const slots = amount(slotNumber, '4', 'max');
/** Statuses of HTTP such as `200-399`. */
export const statuses = {
  ...amount(statusRange, '200', '200-399'),
  show: ([least, most]: readonly [number, number]) => `${least}-${most}`,
};
/** Any text. */
export const text: OptionKind<string, string> = { form: { type: 'text' }, read: (value) => value };
/** Text that names settings, or the settings themselves; on the command line as JSON. */
export const settings: OptionKind<string, string | Readonly<Record<string, unknown>>> = {
  form: { type: 'text or settings' },
  read: (value) => value,
  hide: withoutUserInfo,
};
/** The name of a variable of the environment. */
export const variable: OptionKind<string, string> = {
  form: { type: 'text', examples: ['NODE_APP_INSTANCE'] },
  read: (value) => {
    if (/^[A-Za-z_]\w*$/.test(value)) return value;
    throw new InvalidArgumentError(`Expected the name of a variable, received "${value}".`);
  },
};
/** The path of a URL. */
export const urlPath: OptionKind<string, string> = {
  form: { type: 'text', examples: ['/readyz'] },
  read: requestPath,
};
/** A schedule as cron has them, such as `0 4 * * *`. */
export const schedule: OptionKind<string, string> = {
  form: { type: 'text', examples: ['0 4 * * *', '@daily'] },
  read: cronPattern,
};
/** A signal such as `SIGTERM`. */
export const signal: OptionKind<NodeJS.Signals, string> = {
  form: { type: 'text', examples: ['SIGTERM', 'SIGINT'] },
  read: signalName,
};
/** A whole number from 0 on. */
export const count: OptionKind<number, number> = {
  form: { type: 'whole number', least: 0 },
  read: wholeNumber,
};
/** A whole number from 1 on. */
export const positive: OptionKind<number, number> = {
  form: { type: 'whole number', least: 1 },
  read: positiveNumber,
};
/** On or off. */
export const onOff: OptionKind<boolean, boolean> = {
  form: { type: 'switch' },
  read: (value) => value === 'true',
};
/** Texts, one after another. */
export const texts: OptionKind<readonly string[], string | readonly string[]> = {
  form: { type: 'texts' },
  read: (value) => value,
};
/** Programs, each `exec:` and a command. */
export const programs: OptionKind<readonly string[], string | readonly string[]> = {
  form: { type: 'texts' },
  read: eventProgram,
  show: (commands: readonly string[]) => commands.map((one) => `exec:${one}`).join(' '),
};
/** Whole numbers, one after another. */
export const counts: OptionKind<readonly number[], number | readonly number[]> = {
  form: { type: 'whole numbers' },
  read: wholeNumber,
};

/** One of a few words. */
export function word<const T extends string>(...words: readonly T[]): OptionKind<T, T> {
  return { form: { type: 'word', words }, read: oneOf(...words) };
}

/** A health check: a path, `tcp`, or `exec:` and a command. */
export const check: OptionKind<Check, string> = {
  form: { type: 'text', examples: ['/healthz', 'tcp', 'exec:./check.sh'] },
  show: (value: Check) => {
    if (value.kind === 'tcp') return 'tcp';
    return value.kind === 'http' ? value.path : `exec:${value.command}`;
  },
  read: (value) => {
    const parsed = parseCheck(value);
    if (parsed !== undefined) return parsed;
    throw new InvalidArgumentError(
      `Expected a path such as /healthz, tcp, or exec:COMMAND, received "${value}".`,
    );
  },
};

/** `address`, or `cookie:` and its name. Source: RFC 6265, 4.1.1: the name is a token. */
export const sticky: OptionKind<Sticky, string> = {
  form: { type: 'text', examples: ['address', 'cookie:sid'] },
  show: ({ cookie }: Sticky) => (cookie === undefined ? 'address' : `cookie:${cookie}`),
  read: (value) => {
    if (value === 'address') return {};
    const cookie = /^cookie:([!#$%&'*+.^_`|~0-9A-Za-z-]{1,256})$/.exec(value)?.[1];
    if (cookie !== undefined) return { cookie };
    throw new InvalidArgumentError(`Expected address, or cookie: and its name, received "${value}".`);
  },
};
