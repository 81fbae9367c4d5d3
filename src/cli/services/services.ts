import { accessSync, constants, lstatSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { assertNotPlanted, runRoot } from '../../channel/private-folder.js';
import { MoultError } from '../../errors.js';
import { startTicks } from '../../os/processes/process.js';
import { unixListeners } from '../../os/unix-sockets/unix-listeners.js';
import { Journal } from '../../supervisor/journal/journal.js';
import { JournalFile } from '../../supervisor/journal/journal-file.js';
import { CONTROL, RunFolder } from '../../supervisor/journal/run-folder.js';
import { type LeftBehind, livingGenerations } from '../../supervisor/process/journal-replay.js';
import { plural } from '../../terminal/plural.js';
import { visibleLine } from '../../terminal/visible.js';

/** How many other run folders are named. */
const MOST_FOLDERS = 5;

/** A service whose supervisor is gone, while processes of it live. */
export interface LeftService {
  readonly name: string;
  /** As its supervisor noted it. */
  readonly command: string;
  /** Milliseconds since 1970. */
  readonly startedAt: number;
  readonly generations: readonly LeftBehind[];
}

/**
 * The service that a command means: the one named, or the only one that runs.
 * @throws MOULT_NOT_RUNNING, MOULT_NO_SUPERVISOR, MOULT_AMBIGUOUS_NAME, MOULT_PEER_REFUSED
 */
export function findService(name: string | undefined): RunFolder {
  const root = runRoot();
  assertNotPlanted(root);
  assertEntered(root);
  if (name !== undefined) return named(name, root);
  const running = RunFolder.running();
  const [only, ...more] = running;
  if (only === undefined) throw noneRuns(root);
  if (more.length > 0)
    throw new MoultError('MOULT_AMBIGUOUS_NAME', `several services run: ${running.join(', ')}`);
  assertNotPlanted(join(root, only));
  return new RunFolder(only);
}

/** A folder of another user's is no reason to say that nothing runs. @throws MOULT_PEER_REFUSED */
function assertEntered(root: string): void {
  try {
    accessSync(root, constants.X_OK);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EACCES') return;
    const who = `user ${process.geteuid?.() ?? 0}`;
    const what = `expected a run folder that ${who} may enter, found ${root}, which it may not${elsewhere(root)}`;
    throw new MoultError('MOULT_PEER_REFUSED', what, { cause });
  }
}

/** The services of this user whose supervisor is gone, while processes of theirs live. */
export function leftServices(root = runRoot()): LeftService[] {
  return folders(root).flatMap((name) => {
    const left = leftService(name, root);
    return left === undefined ? [] : [left];
  });
}

/** What is to be said of one of them. */
export function withoutSupervisor({ name, generations, command }: LeftService): MoultError {
  const who = generations
    .map(({ generation, pid }) => `generation ${generation} (process ${pid})`)
    .join(', ');
  return new MoultError(
    'MOULT_NO_SUPERVISOR',
    `the supervisor of ${name} is gone, and ${who} still runs: moult run --name ${name} with the same options and command (${command}) adopts it`,
  );
}

function named(name: string, root: string): RunFolder {
  const folder = new RunFolder(name);
  assertNotPlanted(folder.path);
  if (folder.isClaimed()) return folder;
  const left = leftService(name, root);
  if (left !== undefined) throw withoutSupervisor(left);
  const holder = folder.holder();
  if (holder !== undefined) {
    const who = holder > 0 ? ` (process ${holder})` : '';
    const what = `the supervisor of ${name}${who} is running, but its socket is missing; it creates a new one within seconds`;
    throw new MoultError('MOULT_PEER_TIMEOUT', what);
  }
  const running = RunFolder.running();
  const others = running.length === 0 ? 'no service runs' : `running now: ${running.join(', ')}`;
  throw new MoultError(
    'MOULT_NOT_RUNNING',
    `expected a running service named ${name}; ${others} (looked in ${root})${elsewhere(root)}`,
  );
}

function noneRuns(root: string): MoultError {
  const [left] = leftServices(root);
  if (left !== undefined) return withoutSupervisor(left);
  const what = `no service of this user runs under moult (looked in ${root})${elsewhere(root)}`;
  return new MoultError('MOULT_NOT_RUNNING', what);
}

/** Where else services may run whose commands were told another run folder: those of a login, of cron, of units. */
function elsewhere(root: string): string {
  const uid = process.geteuid?.() ?? 0;
  const units = listed('/run').filter((name) => name.startsWith('moult-'));
  const others = [
    `/run/user/${uid}/moult`,
    join(tmpdir(), `moult-${uid}`),
    `/tmp/moult-${uid}`,
    ...units.map((name) => `/run/${name}/moult`),
    ...listeningRoots(),
  ];
  const found = [...new Set(others)].flatMap((path) => {
    if (path === root) return [];
    const names = runningIn(path);
    if (names.length === 0) return [];
    const base = basename(path) === 'moult' ? `XDG_RUNTIME_DIR=${dirname(path)}` : 'no XDG_RUNTIME_DIR';
    return [visibleLine(`; ${names.join(', ')} in ${path} (with ${base})`)];
  });
  const more =
    found.length > MOST_FOLDERS ? `; and in ${plural(found.length - MOST_FOLDERS, 'folder')} more` : '';
  return `${found.slice(0, MOST_FOLDERS).join('')}${more}`;
}

/** Folders of this user in which somebody listens at the control socket of a service. Others may lay out theirs to be used by mistake. */
function listeningRoots(): string[] {
  const ours = process.geteuid?.();
  try {
    return unixListeners().flatMap(({ path }) => {
      const root = dirname(dirname(path));
      const isRoot = basename(path) === CONTROL && /^moult(?:-\d+)?$/.test(basename(root));
      return isRoot && ownerOf(root) === ours ? root : [];
    });
  } catch {
    return [];
  }
}

function ownerOf(path: string): number | undefined {
  try {
    return lstatSync(path).uid;
  } catch {
    return undefined;
  }
}

function runningIn(root: string): string[] {
  try {
    assertNotPlanted(root);
    return RunFolder.running(root);
  } catch {
    return [];
  }
}

/** Whether processes of a service live whose supervisor is gone. */
export function isLeft(name: string): boolean {
  return leftService(name, runRoot()) !== undefined;
}

function leftService(name: string, root: string): LeftService | undefined {
  try {
    assertNotPlanted(join(root, name));
    const folder = new RunFolder(name, root);
    if (folder.isClaimed() || folder.holder() !== undefined) return undefined;
    const entries = new Journal(new JournalFile(folder.journal, () => {})).read();
    const generations = livingGenerations(entries).living.filter(
      ({ pid, ticks }) => Number.isInteger(pid) && pid > 0 && startTicks(pid) === ticks,
    );
    if (generations.length === 0) return undefined;
    const run = entries.findLast(({ event }) => event === 'run');
    return { name, command: String(run?.command ?? ''), startedAt: Number(run?.at ?? 0), generations };
  } catch {
    // A stray folder, or one that this user may not read.
    return undefined;
  }
}

function folders(root: string): string[] {
  assertNotPlanted(root);
  return listed(root).sort();
}

function listed(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
