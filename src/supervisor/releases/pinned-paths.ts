import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  lstatSync,
  openSync,
  readSync,
  realpathSync,
  statSync,
} from 'node:fs';
import { basename, delimiter, dirname, isAbsolute, join, resolve } from 'node:path';

/*
 * Releases often lie behind a link (current -> releases/12) which every deployment switches. A command that names the link
 * would start the next release after a crash of this one. So what a command names through a link is named by where that leads
 * when the release is made.
 */

/** Programs and packages of the system: no part of a release. */
const OF_THE_SYSTEM = /^\/((usr\/(local\/)?)?(s?bin|lib\w*|share)|nix|snap)(\/|$)/;
/** Programs that run what their arguments name, wherever they are installed. */
const RUNS_OTHERS =
  /^(node|nodejs|npm|npx|pnpm|yarn|tsx|bun|deno|python|pypy|ruby|perl|php|java|lua|elixir|dotnet|sh|bash|dash|zsh)[\d.]*$/;
/** Variables that list folders of programs and modules. */
const LISTS = ['PATH', 'NODE_PATH', 'PYTHONPATH'];
/** How much the kernel reads of a script's first line. Source: execve(2), "Interpreter scripts". */
const MAX_FIRST_LINE_BYTES = 256;

/** A command with its environment, as its operator wrote it. */
export interface WrittenCommand {
  readonly words: readonly string[];
  /** The working directory as it was named. */
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** The same, by where its links led. */
export interface PinnedCommand {
  readonly command: string;
  readonly args: readonly string[];
  /** By which name the program knows itself, where that is not its path. */
  readonly argv0?: string;
  /** Variables that changed. */
  readonly env: Readonly<Record<string, string>>;
}

/** Whether a path is one of the system's, and no part of a release. */
export function isOfTheSystem(path: string): boolean {
  return OF_THE_SYSTEM.test(path);
}

/**
 * Names by where their links lead: the program; where that is not the release's own, the first file or folder among its arguments; and
 * what else of the command and of the lists in the environment leads into the same folders. A shell's text is not read.
 */
export function pinCommand({ words, cwd, env }: WrittenCommand): PinnedCommand {
  const roots = [...linkedFolders(cwd)];
  const [first = '', ...rest] = words;
  const program = pinProgram(first, cwd, env);
  roots.push(...linkedFolders(dirname(program.named)));
  const isOwn =
    program.file !== undefined && !isOfTheSystem(program.file) && !RUNS_OTHERS.test(basename(first));
  const { entry, others } = isOwn ? { entry: undefined, others: [] } : whatIsRun(rest, cwd);
  for (const path of [...others, ...(entry === undefined ? [] : [entry])])
    roots.push(...linkedFolders(resolve(cwd, path)));
  const pin = (path: string) =>
    (path === entry ? linkedFile(path, cwd) : undefined) ?? pinIn(roots, path, cwd);
  const args = rest.map((word) => {
    const [option, path] = split(word);
    return option + pin(path);
  });
  const interpreter = interpreterOf(program.file, pin);
  const own =
    program.file !== undefined && interpreter.length > 0 ? [...interpreter, program.file] : [program.word];
  const [command = first, ...before] = own;
  const variables = LISTS.flatMap((name) => {
    const before = env[name];
    const after = before
      ?.split(delimiter)
      .map((path) => (isAbsolute(path) ? pin(path) : path))
      .join(delimiter);
    return after === undefined || after === before ? [] : [[name, after] as const];
  });
  return {
    command,
    args: [...before, ...args],
    env: Object.fromEntries(variables),
    ...(program.argv0 === undefined || interpreter.length > 0 ? {} : { argv0: program.argv0 }),
  };
}

interface Program {
  /** What to start. */
  readonly word: string;
  /** Its path as it was named, or found; '' where there is none. */
  readonly named: string;
  /** The file; undefined where there is none. */
  readonly file?: string;
  readonly argv0?: string;
}

function pinProgram(first: string, cwd: string, env: WrittenCommand['env']): Program {
  const named = first.includes('/') ? resolve(cwd, first) : inPath(first, env.PATH, cwd);
  const folder = named === undefined ? undefined : real(dirname(named));
  if (named === undefined || folder === undefined || !isFile(named)) return { word: first, named: '' };
  const path = join(folder, basename(named));
  const target = real(named) ?? path;
  const stays =
    target === path || isOfTheSystem(target) || isOfNpm(path, target) || isOfVenv(path) || isNode(path);
  if (!stays) return { word: target, named, file: target, ...(isScript(target) ? {} : { argv0: path }) };
  const isSame = path === named || path === resolve(real(cwd) ?? cwd, first) || isOfTheSystem(folder);
  return { word: isSame ? first : path, named, file: path };
}

// What npm links leads into the same release, and may look at the name by which it is called. Source: npm-folders(5), "Executables".
function isOfNpm(link: string, target: string): boolean {
  const folder = dirname(link);
  return basename(folder) === '.bin' || target.startsWith(join(folder, '../lib/node_modules/'));
}

// A virtual environment of Python is found by the path of its link. Source: PEP 405 on pyvenv.cfg.
function isOfVenv(path: string): boolean {
  return existsSync(join(dirname(path), '../pyvenv.cfg'));
}

/** Whether a command is Node by its name. */
export function isNode(command: string): boolean {
  return /^node(js)?$/.test(basename(command));
}

/** `#!interpreter argument` of a script whose interpreter is behind a link, too: by where that leads. */
function interpreterOf(file: string | undefined, pin: (path: string) => string): string[] {
  const line = file === undefined ? '' : firstLine(file);
  const [, path = '', argument = ''] = /^#![ \t]*(\S+)[ \t]*(.*?)[ \t]*$/.exec(line) ?? [];
  if (!isAbsolute(path) || pin(path) === path) return [];
  return argument === '' ? [pin(path)] : [pin(path), argument];
}

function isScript(file: string): boolean {
  return firstLine(file).startsWith('#!');
}

function firstLine(file: string): string {
  const bytes = Buffer.alloc(MAX_FIRST_LINE_BYTES);
  try {
    const fd = openSync(file, 'r');
    try {
      const count = readSync(fd, bytes, 0, bytes.length, 0);
      return bytes.toString('latin1', 0, count).split('\n', 1)[0] ?? '';
    } finally {
      closeSync(fd);
    }
  } catch {
    return '';
  }
}

interface Run {
  /** The first file or folder that is not the value of an option. */
  readonly entry: string | undefined;
  /** Those before it. */
  readonly others: readonly string[];
}

/** What a program such as a shell, Python or npm runs, by its arguments. */
function whatIsRun(words: readonly string[], cwd: string): Run {
  const others: string[] = [];
  for (const [i, word] of words.entries()) {
    const [option, named] = split(word);
    const path = resolve(cwd, named);
    if (named.startsWith('-') || !(isFile(path) || isFolder(path))) continue;
    if (option === '' && !words[i - 1]?.startsWith('-')) return { entry: named, others };
    others.push(named);
  }
  return { entry: undefined, others };
}

/** One word: a path, and what is before it, such as `--chdir=`. */
function split(word: string): [option: string, path: string] {
  const [, option = '', path = word] = /^(--?[\w-]+=)(.+)$/.exec(word) ?? [];
  return [option, path];
}

/** The file to which a link leads that is switched itself. */
function linkedFile(word: string, cwd: string): string | undefined {
  const path = resolve(cwd, word);
  const file = isLink(path) && isFile(path) ? real(path) : undefined;
  return file === undefined || isOfTheSystem(file) || isOfVenv(path) || isOfNpm(path, file)
    ? undefined
    : file;
}

/** A file or folder that leads into one of these folders through a link, by where it is; else what was given. */
function pinIn(roots: readonly string[], word: string, cwd: string): string {
  const path = resolve(cwd, word);
  if (!isFile(path) && !isFolder(path)) return word;
  const folder = real(isFolder(path) ? path : dirname(path));
  if (folder === undefined || isOfTheSystem(folder)) return word;
  const pinned = isFolder(path) ? folder : join(folder, basename(path));
  const isThere = path === pinned || resolve(real(cwd) ?? cwd, word) === pinned;
  return isThere || !roots.some((root) => isIn(pinned, root)) ? word : pinned;
}

/** The folders to which the links in a path lead. */
function linkedFolders(path: string): string[] {
  const found: string[] = [];
  for (let at = path; at !== '' && dirname(at) !== at; at = dirname(at)) {
    const folder = isLink(at) && isFolder(at) ? real(at) : undefined;
    if (folder !== undefined && !isOfTheSystem(folder)) found.push(folder);
  }
  return found;
}

function inPath(name: string, list: string | undefined, cwd: string): string | undefined {
  const folders = (list ?? '').split(delimiter).map((folder) => resolve(cwd, folder));
  return folders
    .map((folder) => join(folder, name))
    .find((path) => isFile(path) && attempt(() => accessSync(path, constants.X_OK) ?? true) === true);
}

function isIn(path: string, folder: string): boolean {
  return path === folder || path.startsWith(`${folder}/`);
}

function isFile(path: string): boolean {
  return attempt(() => statSync(path).isFile()) ?? false;
}

function isFolder(path: string): boolean {
  return attempt(() => statSync(path).isDirectory()) ?? false;
}

function isLink(path: string): boolean {
  return attempt(() => lstatSync(path).isSymbolicLink()) ?? false;
}

function real(path: string): string | undefined {
  return attempt(() => realpathSync(path));
}

function attempt<T>(ask: () => T): T | undefined {
  try {
    return ask();
  } catch {
    return undefined;
  }
}
