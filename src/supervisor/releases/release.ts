import { existsSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { basename, dirname, extname, join, resolve } from 'node:path';
import { parseEnv } from 'node:util';
import { MoultError } from '../../errors.js';
import { wallClockMs } from '../../os/clock.js';
import { readPatiently } from '../../os/files/patient-read.js';
import { calledNode } from '../../os/processes/invocation.js';
import type { Launch } from '../../os/processes/launch.js';
import { isNode, pinCommand } from './pinned-paths.js';
import { type ReleaseFiles, releaseFiles } from './release-files.js';

const SCRIPTS = new Set(['.js', '.mjs', '.cjs', '.ts', '.mts', '.cts']);

/** How a service is started, as its operator wrote it. Paths are kept as written: a switched symlink is followed at each start. */
export interface ServiceCommand {
  readonly words: readonly string[];
  /** The working directory as it was named, not resolved. */
  readonly cwd: string;
  readonly envFiles: readonly string[];
  /** Variables of its own, which win over all others. */
  readonly env?: Readonly<Record<string, string>>;
}

/** One release: a command with everything that it needs, pinned to what the paths held when it was made. */
export interface Release extends Launch {
  /** Whether the command itself is the service, and not a wrapper such as npm or a shell. */
  readonly isDirect: boolean;
  /** For people: the program that it runs. */
  readonly label: string;
  /** What it is known by; none where an earlier version of moult has noted it. */
  readonly files?: ReleaseFiles;
  /** When it was found to have been written over one that had proved itself, in milliseconds since 1970: it is another one. */
  readonly writtenOver?: number;
}

/**
 * Resolves a command to the release that its paths hold now.
 * @throws MOULT_BAD_OPTION when the script, the folder or an environment file is not there.
 */
export function resolveRelease(service: ServiceCommand, env: NodeJS.ProcessEnv = process.env): Release {
  const [first, ...rest] = service.words;
  if (first === undefined)
    throw new MoultError('MOULT_BAD_OPTION', 'expected a script or a command, received none');
  const cwd = real(service.cwd, 'the working directory');
  const written = { ...readEnvFiles(service.envFiles, service.cwd), ...env, ...service.env, PWD: cwd };
  const pinned = pinCommand({ words: service.words, cwd: service.cwd, env: written });
  const variables = { ...written, ...pinned.env };
  if (isScript(first, service.cwd)) {
    const script = real(resolve(service.cwd, first), 'the script');
    const args = [script, ...pinned.args.slice(pinned.args.length - rest.length)];
    return {
      command: calledNode(),
      args,
      files: releaseFiles(args, cwd),
      cwd,
      env: variables,
      isDirect: true,
      label: script,
    };
  }
  if (SCRIPTS.has(extname(first)))
    throw new MoultError(
      'MOULT_BAD_OPTION',
      `expected a script, found none at ${resolve(service.cwd, first)}`,
    );
  const isDirect = isNode(first);
  const { command } = pinned;
  const pin = (word: string) =>
    isScript(word, service.cwd) ? realpathSync(resolve(service.cwd, word)) : word;
  const args = isDirect ? pinned.args.map(pin) : pinned.args;
  return {
    command,
    args,
    cwd,
    env: variables,
    isDirect,
    files: releaseFiles(isDirect ? fromEntry(args, cwd) : [command, ...args], cwd),
    label: [command, ...pinned.args].join(' '),
    ...(pinned.argv0 === undefined ? {} : { argv0: pinned.argv0 }),
  };
}

/** What the files of a release hold now, where they are not what they were: a release of its own. */
export function asWrittenOver(release: Release): Release {
  const { isDirect, command, args, cwd } = release;
  const words = isDirect ? fromEntry(args, cwd) : [command, ...args];
  return { ...release, files: releaseFiles(words, cwd), writtenOver: wallClockMs() };
}

/** Whether a command is a script for Node, or Node itself: what it starts is a service that knows of moult. */
export function isNodeCommand({ words: [first = ''], cwd }: ServiceCommand): boolean {
  return isScript(first, cwd) || SCRIPTS.has(extname(first)) || isNode(first);
}

/** The default name of a service: that of the nearest package.json, else the script's. */
export function defaultName(service: ServiceCommand): string {
  const first = service.words[0] ?? '';
  const script = service.words.find((word) => isScript(word, service.cwd));
  const from = script === undefined ? service.cwd : dirname(resolve(service.cwd, script));
  const named = nearestPackageName(from) ?? basename(script ?? first, extname(script ?? first));
  const name = named
    .replace(/^@/, '')
    .replace(/[^A-Za-z0-9._-]+/g, '-')
    .replace(/^[^A-Za-z0-9]+/, '')
    .slice(0, 64);
  return name || 'service';
}

/** The arguments of Node from the first file on: the program, whatever its name ends with. */
function fromEntry(args: readonly string[], cwd: string): readonly string[] {
  const at = args.findIndex(
    (word) => !word.startsWith('-') && statSync(resolve(cwd, word), { throwIfNoEntry: false })?.isFile(),
  );
  return at < 0 ? args : args.slice(at);
}

function isScript(word: string, cwd: string): boolean {
  const path = resolve(cwd, word);
  return SCRIPTS.has(extname(word)) && existsSync(path) && statSync(path).isFile();
}

function real(path: string, what: string): string {
  try {
    return realpathSync(path);
  } catch (cause) {
    throw new MoultError('MOULT_BAD_OPTION', `expected ${what} at ${path}, found none`, { cause });
  }
}

// As node --env-file: the environment wins over the file, a later file over an earlier one.
function readEnvFiles(files: readonly string[], cwd: string): Record<string, string | undefined> {
  const variables: Record<string, string | undefined> = {};
  for (const file of files) {
    const path = resolve(cwd, file);
    let text: string;
    try {
      text = readPatiently(path);
    } catch (cause) {
      const what = `--env-file: expected a readable file at ${path}: ${(cause as Error).message}`;
      throw new MoultError('MOULT_BAD_OPTION', what, { cause });
    }
    Object.assign(variables, parseEnv(text));
  }
  return variables;
}

function nearestPackageName(from: string): string | undefined {
  for (let folder = from; ; folder = dirname(folder)) {
    try {
      const { name } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { name?: unknown };
      return typeof name === 'string' && name !== '' ? name : undefined;
    } catch {
      if (folder === dirname(folder)) return undefined;
    }
  }
}
