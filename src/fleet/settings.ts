import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { dirname, resolve } from 'node:path';
import * as v from 'valibot';
import { MoultError } from '../errors.js';
import { MAX_LABELS } from './limits.js';
import { nameSchema } from './roll/roll.js';

/** The variable that says which fleet is meant, where no option does. */
export const FLEET_VARIABLE = 'MOULT_FLEET';

const text = v.pipe(v.string(), v.minLength(1), v.maxLength(1024));
const label = v.pipe(
  v.string(),
  v.regex(/^[A-Za-z0-9_][A-Za-z0-9._-]{0,62}$/, 'letters, digits, dots, dashes'),
);
const server = v.pipe(
  v.string(),
  v.regex(/^(nats|tls):\/\/.+/, 'expected an address such as nats://10.0.0.5:4222'),
);

/** What `--fleet` names, or the key `fleet` of the config holds. */
export const fleetSchema = v.strictObject({
  /** Addresses of NATS servers of one cluster. */
  servers: v.union([server, v.pipe(v.array(server), v.minLength(1), v.maxLength(16))]),
  /** The fleet, where several use the same servers. */
  name: v.optional(v.pipe(v.string(), v.regex(/^[A-Za-z0-9_-]{1,32}$/)), 'moult'),
  /** The name of this host; the machine's where it is not given. */
  host: v.optional(nameSchema),
  labels: v.optional(
    v.pipe(
      v.record(label, label),
      v.check((all) => Object.keys(all).length <= MAX_LABELS, `more than ${MAX_LABELS} labels`),
    ),
    {},
  ),
  /** The path of a credentials file. */
  creds: v.optional(text),
  /** The path of a file with the seed of an nkey. */
  nkey: v.optional(text),
  /** Where answers of the servers come to: a user may be permitted to listen there alone. */
  inbox: v.optional(v.pipe(v.string(), v.regex(/^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$/)), '_INBOX'),
  tls: v.optional(v.strictObject({ ca: v.optional(text), cert: v.optional(text), key: v.optional(text) })),
  /** A shell command that brings a release to this host, with its id in MOULT_RELEASE. */
  deploy: v.optional(text),
  /** How long that may take, in seconds. */
  deployTimeout: v.optional(v.pipe(v.number(), v.minValue(1), v.maxValue(86_400)), 600),
  /** Whether the agent of this host may lead rolls. */
  lead: v.optional(v.boolean(), true),
  /** How many servers keep a copy of the buckets, where they are created; as many as there are, up to 3, where it is not given. */
  replicas: v.optional(v.picklist([1, 3, 5])),
});

/** How this host, or an operator's command, belongs to a fleet. */
export interface FleetSettings extends Omit<v.InferOutput<typeof fleetSchema>, 'servers' | 'host'> {
  readonly servers: readonly string[];
  readonly host: string;
  /** The folder in which the deploy step runs, and from which paths are counted. */
  readonly folder: string;
}

/**
 * The settings that an option gives: addresses of servers, with commas between, or the path of a file that has more of them, in
 * YAML or JSON; or those settings as JSON, as the config of a service holds them.
 * @param cwd from which paths are counted where there is no file.
 * @throws MOULT_BAD_OPTION
 */
export async function fleetSettings(option: string, cwd = process.cwd()): Promise<FleetSettings> {
  if (/^(nats|tls):\/\//.test(option)) return checked({ servers: option.split(',') }, '--fleet', cwd);
  if (option.startsWith('{')) return checked(jsonOf(option), 'fleet', cwd);
  const path = resolve(cwd, option);
  let value: unknown;
  try {
    const { parse } = await import('yaml');
    value = parse(readFileSync(path, 'utf8'), { maxAliasCount: 0 });
  } catch (error) {
    const what = `--fleet: expected an address such as nats://10.0.0.5:4222 or the path of a file, received "${option}": ${(error as Error).message}`;
    throw new MoultError('MOULT_BAD_OPTION', what);
  }
  return checked(value, option, dirname(path));
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new MoultError('MOULT_BAD_OPTION', `--fleet: expected JSON: ${(error as Error).message}`);
  }
}

/** The same for what has been read already. @param where names it in errors. @throws MOULT_BAD_OPTION */
export function checked(value: unknown, where: string, folder: string): FleetSettings {
  const parsed = v.safeParse(fleetSchema, value);
  if (!parsed.success) {
    const [issue] = parsed.issues;
    const path = v.getDotPath(issue) ?? 'the whole';
    const known = Object.keys(fleetSchema.entries).join(', ');
    const what =
      issue.expected === 'never' && !path.includes('.')
        ? `${where}: expected one of ${known}, received "${path}"`
        : `${where}: ${path}: ${issue.message.slice(0, 200)}`;
    throw new MoultError('MOULT_BAD_OPTION', what);
  }
  const { servers, host = ownName(), ...rest } = parsed.output;
  const at = (path: string | undefined) => (path === undefined ? undefined : resolve(folder, path));
  const tls = rest.tls && { ca: at(rest.tls.ca), cert: at(rest.tls.cert), key: at(rest.tls.key) };
  return {
    ...rest,
    ...without({ creds: at(rest.creds), nkey: at(rest.nkey) }),
    ...(tls === undefined ? {} : { tls: without(tls) }),
    servers: typeof servers === 'string' ? [servers] : servers,
    host,
    folder,
  };
}

/** An address without what must stay secret in it. */
export function shownServer(url: string): string {
  return url.replace(/\/\/.*@/, '//');
}

function ownName(): string {
  const name = hostname()
    .replaceAll(/[^A-Za-z0-9._-]/g, '-')
    .slice(0, 64);
  return /^[A-Za-z0-9_]/.test(name) ? name : 'host';
}

function without<T extends object>(all: T): { [K in keyof T]?: NonNullable<T[K]> } {
  return Object.fromEntries(Object.entries(all).filter(([, one]) => one !== undefined)) as {
    [K in keyof T]?: NonNullable<T[K]>;
  };
}
