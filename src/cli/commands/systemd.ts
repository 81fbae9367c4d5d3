import { execFileSync } from 'node:child_process';
import { accessSync, constants, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { fileServices, type ServicesFile } from '../../config/file-services.js';
import type { RunFlags } from '../../config/options/run-options.js';
import { MoultError } from '../../errors.js';
import { namedWorkingDirectory } from '../../os/files/working-directory.js';
import { checkName } from '../../supervisor/journal/run-folder.js';
import { defaultName } from '../../supervisor/releases/release.js';
import { print } from '../../terminal/print.js';
import { visibleLine } from '../../terminal/visible.js';
import { collect, oneOf } from '../options/option-types.js';
import { serviceUnit, socketUnit, type UnitChoices } from '../unit-files.js';
import { runShape } from './run.js';

/** The first version that has Type=notify-reload. Source: systemd NEWS, version 253. */
const NOTIFY_RELOAD_SINCE = 253;

/** Options of `moult run` whose value is a path. */
const PATH_OPTIONS = ['--env-file', '--take-over'];

interface Flags {
  readonly socket?: readonly string[];
  readonly user?: string;
  readonly type?: UnitChoices['type'];
  readonly into?: string;
  readonly config?: string | boolean;
}

/** The command `moult systemd`: prints the unit files by which systemd runs a service under moult. */
export function systemdCommand(): Command {
  return new Command('systemd')
    .description('print a commented systemd unit for a service')
    .usage('[options] [-- [options of moult run] <script.js | command …>]')
    .argument(
      '[command...]',
      'the options and command for moult run (default: each service of the config file, else the start script in package.json)',
    )
    .passThroughOptions()
    .option(
      '--socket <address>',
      'also create a socket unit for a port, address:port or path (repeatable)',
      (value: string, before?: readonly string[]) => collect(socketAddress(value), before),
    )
    .option('--user <user>', 'the user that runs the service (default: root)')
    .option(
      '--type <type>',
      "notify-reload or notify (default: what this machine's systemd has)",
      oneOf('notify-reload', 'notify'),
    )
    .option('--into <folder>', 'write the files to this folder instead of printing them')
    .option('--config <file>', 'the config file (default: the nearest moult.config.{ts,mts,js,mjs,json})')
    .option('--no-config', 'read no config file')
    .action(async (words: string[], flags: Flags) => {
      const file = words.length > 0 ? undefined : await fileServices(flags, namedWorkingDirectory());
      const files =
        file === undefined
          ? unitFiles(words.length > 0 ? words : startCommand(), flags)
          : unitsOf(file, flags);
      if (flags.into === undefined) print(onePage(files).trimEnd());
      else writeInto(flags.into, files);
    });
}

function unitFiles(words: readonly string[], flags: Flags): ReadonlyMap<string, string> {
  const cwd = namedWorkingDirectory();
  const run = runShape().exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2));
  run.parse([...words], { from: 'user' });
  const runFlags = run.opts<RunFlags>();
  const command = run.args;
  const name = checkName(runFlags.name ?? defaultName({ words: command, cwd, envFiles: [] }));
  return filesOf({
    name,
    ...unitBasics(flags),
    cwd,
    options: absoluteOptions(words.slice(0, words.length - command.length), cwd),
    command: absoluteCommand(command, cwd),
    stopDelayMs: runFlags.stopDelay,
    drainTimeoutMs: runFlags.drainTimeout,
    stopTimeoutMs: runFlags.stopTimeout,
  });
}

/** A unit for each service of a config file. */
function unitsOf({ file, services }: ServicesFile, flags: Flags): ReadonlyMap<string, string> {
  const [only, ...more] = services;
  if (flags.socket !== undefined && (only === undefined || more.length > 0)) {
    const what = `--socket is for one service, and ${file} has several: give the command of one after --`;
    throw new MoultError('MOULT_BAD_OPTION', what);
  }
  return new Map(
    services.flatMap(({ name, key, after, resolved }) => [
      ...filesOf({
        name: checkName(name),
        ...unitBasics(flags),
        cwd: dirname(file),
        options: ['--config', file, ...(key === undefined ? [] : ['--service', key])],
        command: [],
        after,
        stopDelayMs: resolved.flags.stopDelay,
        drainTimeoutMs: resolved.flags.drainTimeout,
        stopTimeoutMs: resolved.flags.stopTimeout,
      }),
    ]),
  );
}

function unitBasics(flags: Flags) {
  return {
    type: flags.type ?? (systemdVersion() >= NOTIFY_RELOAD_SINCE ? 'notify-reload' : 'notify'),
    user: flags.user,
    node: process.execPath,
    moult: resolve(process.argv[1] ?? ''),
    sockets: flags.socket ?? [],
  } as const;
}

function filesOf(choices: UnitChoices): ReadonlyMap<string, string> {
  const files = new Map([[`${choices.name}.service`, serviceUnit(choices)]]);
  if (choices.sockets.length > 0) files.set(`${choices.name}.socket`, socketUnit(choices));
  return files;
}

function onePage(files: ReadonlyMap<string, string>): string {
  return [...files].map(([name, text]) => `# /etc/systemd/system/${name}\n${text}`).join('\n');
}

function writeInto(folder: string, files: ReadonlyMap<string, string>): void {
  mkdirSync(folder, { recursive: true });
  for (const [name, text] of files) {
    writeFileSync(join(folder, name), text);
    print(visibleLine(join(folder, name)));
  }
}

// What `npm start` would run, but without npm where that is a script of its own.
function startCommand(): string[] {
  const cwd = namedWorkingDirectory();
  let manifest: { main?: unknown; scripts?: { start?: unknown } };
  try {
    manifest = JSON.parse(readFileSync(join(cwd, 'package.json'), 'utf8'));
  } catch (cause) {
    const what = `expected a command, or a package.json in ${cwd}`;
    throw new MoultError('MOULT_BAD_OPTION', what, { cause });
  }
  const { main, scripts } = manifest;
  const direct = /^node (\S+\.[cm]?js)$/.exec(String(scripts?.start ?? ''))?.[1];
  if (direct !== undefined) return [direct];
  if (scripts?.start !== undefined) return ['npm', 'start'];
  if (typeof main === 'string' && existsSync(join(cwd, main))) return [main];
  throw new MoultError('MOULT_BAD_OPTION', `expected a command, or a start script in ${cwd}/package.json`);
}

// The name stands in the unit by itself; files are looked for from another folder.
function absoluteOptions(words: readonly string[], cwd: string): string[] {
  const options: string[] = [];
  for (let i = 0; i < words.length; i += 1) {
    const [option = '', inline] = splitOnce(words[i] ?? '');
    if (option === '--') break;
    const isPath = PATH_OPTIONS.includes(option);
    if (!isPath && option !== '--name') options.push(words[i] ?? '');
    else {
      const value = inline ?? words[++i] ?? '';
      if (isPath) options.push(option, resolve(cwd, value));
    }
  }
  return options;
}

function splitOnce(word: string): [string, string?] {
  const at = word.startsWith('--') ? word.indexOf('=') : -1;
  return at < 0 ? [word] : [word.slice(0, at), word.slice(at + 1)];
}

// Links in the path are kept: they are what a deployment switches.
function absoluteCommand([first = '', ...rest]: readonly string[], cwd: string): string[] {
  const path = resolve(cwd, first);
  if (existsSync(path) && statSync(path).isFile()) return [path, ...rest];
  return [first.includes('/') ? path : (inPath(first) ?? first), ...rest];
}

function inPath(program: string): string | undefined {
  const folders = (process.env.PATH ?? '').split(':').filter((folder) => folder.startsWith('/'));
  return folders.map((folder) => join(folder, program)).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/** 0 where systemd is not there. */
function systemdVersion(): number {
  try {
    const text = execFileSync('systemctl', ['--version'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    return Number(/^systemd (\d+)/.exec(text)?.[1] ?? 0);
  } catch {
    return 0;
  }
}

function socketAddress(value: string): string {
  const port = Number(/^(?:.*:)?(\d{1,5})$/.exec(value)?.[1] ?? 0);
  if (/^[/@]\S+$/.test(value) || (port > 0 && port < 65536 && !/\s/.test(value))) return value;
  throw new InvalidArgumentError(
    `Expected a port, an address such as 127.0.0.1:3000 or [::1]:3000, or a path, received "${value}".`,
  );
}
