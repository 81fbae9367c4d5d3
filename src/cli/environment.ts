import { readFileSync } from 'node:fs';
import { MoultError } from '../errors.js';
import { execute } from '../os/processes/execute.js';
import { restoreNodeOptions, withoutNodeOptions } from '../os/processes/node-options.js';
import { scrub } from '../service/environment.js';

/** Tells the preload, where something that runs under moult has started this command, that this is no part of that service. */
const COMMAND = Symbol.for('moult.command.1');

/** Options of Node that load a file of the user's. */
const LOADING = /(^|\s)(--require|-r|--import|--loader|--experimental-loader)\b/;
/** The same, where the file is that by which Yarn's Plug'n'Play finds packages: this process needs it, too. */
const PLUG_N_PLAY =
  /--(require|import|loader|experimental-loader)[ =]("[^"]*|\S*)\.pnp\.(cjs|loader\.mjs)"?/g;

/** Options of Node that keep moult itself from calling libc. */
const BARRING = /(^|\s)--(no-addons|(experimental-)?permission)(?=\s|=|$)/;

/**
 * Makes the environment of this process that of a command of moult. What NODE_OPTIONS loads is meant for the service: where
 * it has been loaded here, this process starts anew without it; servers that it opened are closed by that.
 */
export function takeOwnEnvironment(env: NodeJS.ProcessEnv = process.env): void {
  Object.defineProperty(globalThis, COMMAND, { value: true });
  // A service may start moult.
  if (env.MOULT_SUPERVISOR !== undefined) scrub(env);
  if (restoreNodeOptions(env)) return;
  if (BARRING.test(env.NODE_OPTIONS ?? '')) startWithoutBars(env);
  const [, ...given] = fileWords('/proc/self/cmdline');
  const isReadByNode = hasReadEnvFile(given);
  if (!isReadByNode && !LOADING.test((env.NODE_OPTIONS ?? '').replace(PLUG_N_PLAY, ''))) return;
  const flags = process.execArgv.filter((flag) => flag !== '--');
  const words = [...flags, '--', ...process.argv.slice(1)];
  execute(process.execPath, words, withoutNodeOptions(isReadByNode ? atItsStart() : env));
}

// Without libc, and so only where Node itself can do it. Source: Node's documentation, process.execve, since 22.15 and 23.11.
function startWithoutBars(env: NodeJS.ProcessEnv): never {
  const { execve } = process as { execve?: (file: string, args: string[], env: NodeJS.ProcessEnv) => never };
  const words = [process.execPath, ...process.execArgv.filter((flag) => flag !== '--'), '--'];
  try {
    execve?.(process.execPath, [...words, ...process.argv.slice(1)], definedOnly(withoutNodeOptions(env)));
  } catch {
    // Permissions forbid it.
  }
  throw new MoultError(
    'MOULT_UNSUPPORTED_PLATFORM',
    `moult itself needs an addon, and NODE_OPTIONS (${env.NODE_OPTIONS}) keeps Node from loading it: set those options for the service only, as in "moult run -- node --no-addons server.js", or in a file given with --env-file`,
  );
}

function definedOnly(env: Readonly<Record<string, string | undefined>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(env).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
  );
}

/** Whether Node has taken our own --env-file for its own: it looks for it in all arguments, unless `--` comes before. */
function hasReadEnvFile(given: readonly string[]): boolean {
  const script = given.findIndex((word) => !word.startsWith('-'));
  const isEnvFile = (word: string) => /^--env-file(-if-exists)?(=|$)/.test(word);
  return !given.slice(0, script).includes('--') && given.slice(script).some(isEnvFile);
}

// Without what Node has read from the file since.
function atItsStart(): Record<string, string> {
  const entries = fileWords('/proc/self/environ').map((word) => {
    const at = word.indexOf('=');
    return [word.slice(0, at), word.slice(at + 1)] as const;
  });
  return Object.fromEntries(entries);
}

function fileWords(path: string): string[] {
  return readFileSync(path, 'utf8').split('\0').slice(0, -1);
}
