import { dirname, relative } from 'node:path';
import * as v from 'valibot';
import { MoultError } from '../errors.js';
import { configSchema, type ReadConfig, type ReadService } from './config-schema.js';
import { evaluateConfig } from './evaluate-config.js';

/** A config file and what it held when it was read: plain data, so that it can be passed on. */
export interface ConfigContent {
  readonly file: string;
  readonly content: unknown;
}

/** A service as its file has it. */
export interface FileService {
  readonly file: string;
  /** The folder to which paths in it are relative. */
  readonly folder: string;
  /** Its key under `services`; none where the file has one service only. */
  readonly key: string | undefined;
  readonly service: ReadService;
  /** The values of its keys as they are written. */
  readonly written: Readonly<Record<string, unknown>>;
}

/** Reads a config file anew. @throws MOULT_CONFIG_FAILED */
export async function readConfig(file: string): Promise<ConfigContent> {
  const content = await evaluateConfig(file);
  servicesIn({ file, content });
  return { file, content };
}

/**
 * The services of a file, in the order in which they are started: each after those that its `after` names.
 * @throws MOULT_CONFIG_FAILED for a key or a value that it must not have, and for services that wait for each other
 */
export function servicesIn({ file, content }: ConfigContent): FileService[] {
  const config = parse(file, content);
  const folder = dirname(file);
  const { services, ...shared } = config;
  const {
    services: written = {},
    $schema: _,
    ...sharedWritten
  } = content as Readonly<Record<string, unknown>> & {
    services?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  };
  if (services === undefined)
    return [{ file, folder, key: undefined, service: shared, written: sharedWritten }];
  const all = Object.entries(services).map(([key, service]) => ({
    file,
    folder,
    key,
    service: {
      ...shared,
      ...service,
      ...(shared.env === undefined && service.env === undefined
        ? {}
        : { env: { ...shared.env, ...service.env } }),
    },
    written: { ...sharedWritten, ...written[key] },
  }));
  if (all.length === 0) throw wrong(file, 'services: expected at least one service, received none');
  return inOrder(file, all);
}

/** What a file says of every service, for a command that is none of them. @throws MOULT_CONFIG_FAILED */
export function sharedIn({ file, content }: ConfigContent): FileService {
  const { services: _, ...service } = parse(file, content);
  const { services: __, ...written } = content as Readonly<Record<string, unknown>>;
  return { file, folder: dirname(file), key: undefined, service, written };
}

function parse(file: string, content: unknown): ReadConfig {
  if (typeof content !== 'object' || content === null || Array.isArray(content))
    throw wrong(file, `expected an object with options, received ${kindOf(content)}`);
  const result = v.safeParse(configSchema, content);
  if (result.success) return result.output as ReadConfig;
  const said = [...new Set(result.issues.map(issueText))];
  throw wrong(file, said.join('; '));
}

function kindOf(content: unknown): string {
  if (content === null) return 'null';
  return Array.isArray(content) ? 'a list' : `a ${typeof content}`;
}

function issueText(issue: v.BaseIssue<unknown>): string {
  const path = v.getDotPath(issue) ?? '';
  // Of the ways in which a value may be written the first says enough.
  if (issue.type === 'strict_object' && issue.expected === 'never')
    return `there is no option ${path}${meant(path)}`;
  const message =
    issue.type === 'union' ? `Expected ${issue.expected}, received ${issue.received}` : issue.message;
  return `${path}: ${message.replace(/^Invalid \w+: /, '').replace(/\.$/, '')}`;
}

/** What was meant by a key that is none: written with dashes, in other letters, or with a letter too many. */
function meant(path: string): string {
  const key = path.split('.').at(-1) ?? '';
  const plain = (text: string) => text.toLowerCase().replaceAll(/[-_]/g, '');
  const known = Object.keys(configSchema.entries);
  const found =
    known.find((one) => plain(one) === plain(key)) ?? known.find((one) => isNear(plain(one), plain(key)));
  return found === undefined ? '' : ` (did you mean ${found}?)`;
}

function isNear(one: string, other: string): boolean {
  if (one.length < 4 || Math.abs(one.length - other.length) > 2) return false;
  let row = Array.from({ length: other.length + 1 }, (_, i) => i);
  for (const [i, letter] of [...one].entries()) {
    const next = [i + 1];
    for (const [j, otherLetter] of [...other].entries()) {
      const change = (row[j] ?? 0) + (letter === otherLetter ? 0 : 1);
      next.push(Math.min(change, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1));
    }
    row = next;
  }
  return (row.at(-1) ?? 3) <= 2;
}

function inOrder(file: string, all: readonly FileService[]): FileService[] {
  const known = new Map(all.map((one) => [one.key, one]));
  const done = new Set<FileService>();
  const visit = (one: FileService, path: readonly string[]) => {
    const { key = '' } = one;
    if (done.has(one)) return;
    if (path.includes(key)) {
      throw wrong(
        file,
        `services wait for each other: ${[...path.slice(path.indexOf(key)), key].join(' after ')}`,
      );
    }
    for (const name of one.service.after ?? []) {
      const other = known.get(name);
      const names = [...known.keys()].join(', ');
      if (other === undefined)
        throw wrong(file, `services.${key}.after: expected one of ${names}, received "${name}"`);
      visit(other, [...path, key]);
    }
    done.add(one);
  };
  for (const one of all) visit(one, []);
  return [...done];
}

function wrong(file: string, what: string): MoultError {
  const from = relative(process.cwd(), file);
  return new MoultError('MOULT_CONFIG_FAILED', `${from.startsWith('..') ? file : from}: ${what}`);
}
