import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { Command } from 'commander';
import { fileServices } from '../../config/file-services.js';
import { showMs } from '../../config/options/values.js';
import { nodemonSettings } from '../../dev/nodemon-settings.js';
import { devCommand } from '../../dev/script-command.js';
import { SourceWatch } from '../../dev/source-watch.js';
import { asMoultError, MoultError } from '../../errors.js';
import { namedWorkingDirectory } from '../../os/files/working-directory.js';
import { wasToldToIgnoreHangUps } from '../../os/processes/hang-up.js';
import { calledNode, calledScript } from '../../os/processes/invocation.js';
import { checkName, RunFolder } from '../../supervisor/journal/run-folder.js';
import { defaultName } from '../../supervisor/releases/release.js';
import { paint } from '../../terminal/paint.js';
import { print } from '../../terminal/print.js';
import { visibleLine } from '../../terminal/visible.js';
import { failureText } from '../failure.js';
import { collect } from '../options/option-types.js';
import { ask } from '../services/control.js';
import { isLeft } from '../services/services.js';

/** For a machine with one developer: soon over, and what hangs is not waited for. */
const TIMES = [
  '--probation',
  '500ms',
  '--drain-timeout',
  '2s',
  '--stop-timeout',
  '2s',
  '--max-draining',
  '50',
];

const LOOK_MS = 50;

interface Flags {
  readonly config?: string | boolean;
  readonly service?: string;
  readonly watch?: readonly string[];
}

/** The command `moult dev`: a service that is restarted on change, under the same supervisor as anywhere. */
export function devCommandLine(): Command {
  return new Command('dev')
    .description('run a service and restart it when its files change; open connections stay')
    .usage('[options] [--] [script | command …]')
    .argument('[command...]', 'a script, or a command with its arguments (default: that of the config file)')
    .passThroughOptions()
    .option('--watch <path>', 'also watch this path (repeatable)', collect)
    .option('--config <file>', 'the config file (default: the nearest moult.config.{ts,mts,js,mjs,json})')
    .option('--no-config', 'read no config file')
    .option('--service <key>', 'which service of a config file that has several')
    .action(async (words: string[], flags: Flags) => {
      process.exitCode = await dev(words, flags);
    });
}

async function dev(words: readonly string[], flags: Flags): Promise<number> {
  const cwd = namedWorkingDirectory();
  const found = words.length > 0 ? undefined : await configured(flags, cwd);
  if (words.length === 0 && found === undefined) {
    throw new MoultError(
      'MOULT_BAD_OPTION',
      'expected a script, or a config file with a command; received neither',
    );
  }
  const name = checkName(
    `${found?.name ?? defaultName({ words, cwd, envFiles: [] })}`.slice(0, 60).concat('-dev'),
  );
  const root = packageRoot(found?.folder ?? dirname(resolve(cwd, words[0] ?? '.')), cwd);
  const service = new DevService(name, cwd, runWords(name, devCommand(words, cwd), flags));
  const extra = (flags.watch ?? []).map((path) => resolve(cwd, path));
  const watch = new SourceWatch(root, extra, nodemonSettings(root), {
    changed: (path) => void service.restart(visibleLine(relative(cwd, path))),
    failed: (error) => print(`${paint.yellow('!')} ${notWatched(error)}`),
  });
  await watch.ready;
  print(
    `${paint.bold('moult dev')}  watching ${visibleLine(root)}${process.stdin.isTTY ? '; r restarts, q quits' : ''}`,
  );
  const quit = () => void service.stop();
  // A terminal that is closed ends it, too: its port would stay taken.
  process.on('SIGINT', quit).on('SIGTERM', quit);
  process.on('SIGHUP', wasToldToIgnoreHangUps() ? () => {} : quit);
  const endKeys = heedKeys(() => void service.restart('r'), quit);
  service.start();
  await service.ended;
  endKeys();
  await watch.close();
  return 0;
}

function notWatched({ message, code }: NodeJS.ErrnoException): string {
  const hint = code === 'ENOSPC' ? '; raise fs.inotify.max_user_watches' : '';
  return `not everything is watched: ${visibleLine(message)}${hint}`;
}

function runWords(name: string, words: readonly string[], { config, service }: Flags): string[] {
  const file = config === false ? ['--no-config'] : typeof config === 'string' ? ['--config', config] : [];
  const key = service === undefined ? [] : ['--service', service];
  const command = words.length === 0 ? [] : ['--', ...words];
  // What ends by itself is started again: a save may mend it.
  return [
    'run',
    '--name',
    name,
    ...file,
    ...key,
    ...TIMES,
    '--restart',
    'always',
    '--log',
    'error',
    ...command,
  ];
}

async function configured(flags: Flags, cwd: string): Promise<{ name: string; folder: string } | undefined> {
  const file = await fileServices(flags, cwd);
  if (file === undefined) return undefined;
  const found =
    flags.service === undefined ? file.services : file.services.filter(({ key }) => key === flags.service);
  const [only, ...more] = found;
  if (only === undefined || more.length > 0) {
    const keys = file.services.flatMap(({ key }) => key ?? []).join(', ');
    throw new MoultError(
      'MOULT_BAD_OPTION',
      `--service: expected one of ${keys}, received ${flags.service ?? 'none'}`,
    );
  }
  return { name: only.name, folder: only.resolved.service.cwd };
}

function packageRoot(from: string, cwd: string): string {
  for (let folder = from; ; folder = dirname(folder)) {
    if (existsSync(join(folder, 'package.json'))) return folder;
    if (folder === dirname(folder)) return existsSync(from) ? from : cwd;
  }
}

/** The service of a developer: its supervisor is a process of its own, which is asked as every command asks it. */
class DevService {
  readonly ended: Promise<void>;
  readonly #name: string;
  readonly #cwd: string;
  readonly #words: readonly string[];
  readonly #folder: RunFolder;
  #end: () => void = () => {};
  #child: ChildProcess | undefined;
  #isStopping = false;
  #isBusy = false;
  #isOwed: string | undefined;

  constructor(name: string, cwd: string, words: readonly string[]) {
    this.#name = name;
    this.#cwd = cwd;
    this.#words = words;
    this.#folder = new RunFolder(name);
    this.ended = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  /** Starts it; one that an earlier `moult dev` left goes on, with what is there now. */
  start(): void {
    if (this.#folder.isClaimed()) {
      print(`${visibleLine(this.#name)} is already running and is restarted`);
      void this.restart('moult dev');
      return;
    }
    const child = spawn(calledNode(), ['--', calledScript(), ...this.#words], {
      cwd: this.#cwd,
      env: { ...process.env, PWD: this.#cwd },
      // A Ctrl-C reaches this process alone, which stops it in order.
      detached: true,
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    this.#child = child;
    child.once('error', (error) => {
      if (child.pid !== undefined) return;
      this.#child = undefined;
      print(
        `${paint.red('✗')} it could not be started: ${visibleLine(error.message)}; moult tries again when a file changes`,
      );
      if (this.#isStopping) this.#end();
    });
    child.once('exit', (code, signal) => {
      this.#child = undefined;
      if (this.#isStopping) this.#end();
      else if (signal !== null && isLeft(this.#name)) this.start();
      else
        print(
          `${paint.red('✗')} it ended${code === null ? '' : ` with ${code}`}; moult starts it again when a file changes`,
        );
    });
  }

  /** Replaces it by what its files hold now; what comes meanwhile is one more restart. */
  async restart(why: string): Promise<void> {
    if (this.#isStopping) return;
    if (this.#isBusy) {
      this.#isOwed = why;
      return;
    }
    this.#isBusy = true;
    const beganMs = performance.now();
    try {
      if (this.#child === undefined && !this.#folder.isClaimed()) this.start();
      else {
        await this.#canBeAsked();
        if (this.#child === undefined && !this.#folder.isClaimed()) return;
        const { generation } = await ask(this.#folder, REQUEST);
        const took = showMs(performance.now() - beganMs);
        print(
          `${paint.green('✓')} ${visibleLine(why)}: generation ${String(generation)} serves after ${took}`,
        );
      }
    } catch (error) {
      if (!this.#isStopping) print(failureText(asMoultError(error, 'MOULT_HANDOVER_ABORTED'), true));
    } finally {
      this.#isBusy = false;
      const owed = this.#isOwed;
      this.#isOwed = undefined;
      if (owed !== undefined) void this.restart(owed);
    }
  }

  // A save may come before the supervisor that is just starting can be asked.
  async #canBeAsked(): Promise<void> {
    while (this.#child !== undefined && !this.#folder.isClaimed())
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }

  /** Ends it. */
  async stop(): Promise<void> {
    if (this.#isStopping) {
      this.#child?.kill('SIGTERM');
      return;
    }
    this.#isStopping = true;
    await ask(this.#folder, { type: 'stop' }).catch(() => this.#child?.kill('SIGTERM'));
    if (this.#child === undefined) this.#end();
  }
}

const REQUEST = {
  type: 'restart',
  wait: true,
  ifBusy: 'wait',
  allowFewerListeners: true,
  untilConfirmed: false,
  untilDrained: false,
  whenQuiet: null,
} as const;

/** @returns ends that. */
function heedKeys(restart: () => void, quit: () => void): () => void {
  const { stdin } = process;
  if (!stdin.isTTY) return () => {};
  const heed = (text: string) => {
    if (text === 'r') restart();
    // Ctrl-C and Ctrl-D come as characters here.
    if (text === 'q' || text === '\u0003' || text === '\u0004') quit();
  };
  stdin.setRawMode(true).setEncoding('utf8').on('data', heed);
  return () => {
    stdin.off('data', heed);
    stdin.setRawMode(false).pause();
  };
}
