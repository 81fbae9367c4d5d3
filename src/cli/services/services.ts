import { accessSync, constants, lstatSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { assertNotPlanted, runRoot } from '../../channel/private-folder.js';
import { MoultError } from '../../errors.js';
import { startTicks } from '../../os/processes/process.js';
import { isAnsweredAt } from '../../os/unix-sockets/held-socket.js';
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
export async function findService(name: string | undefined): Promise<RunFolder> {
  const root = runRoot();
  assertNotPlanted(root);
  await assertEntered(root);
  if (name !== undefined) return named(name, root);
  const running = await runningServices();
  const [only, ...more] = running;
  if (only === undefined) throw await noneRuns(running, root);
  if (more.length > 0)
    throw new MoultError('MOULT_AMBIGUOUS_NAME', `several services run: ${running.join(', ')}`);
  assertNotPlanted(join(root, only));
  return new RunFolder(only);
}

/** Whether a living supervisor listens there, without libc. */
export function isRunning(folder: RunFolder): Promise<boolean> {
  return isAnsweredAt(folder.publicControl);
}

/** The names of this user's services that run now, sorted. */
export async function runningServices(root = runRoot()): Promise<string[]> {
  const folders = RunFolder.all(root);
  const isThere = await Promise.all(folders.map(isRunning));
  return folders.flatMap((folder, at) => (isThere[at] ? folder.name : []));
}

/** A folder of another user's is no reason to say that nothing runs. @throws MOULT_PEER_REFUSED */
async function assertEntered(root: string): Promise<void> {
  try {
    accessSync(root, constants.X_OK);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EACCES') return;
    const who = `user ${process.geteuid?.() ?? 0}`;
    const what = `expected a run folder that ${who} may enter, found ${root}, which it may not${await elsewhere(root)}`;
    throw new MoultError('MOULT_PEER_REFUSED', what, { cause });
  }
}

/** The services of this user whose supervisor is gone, while processes of theirs live. @param running those that have one. */
export function leftServices(running: readonly string[], root = runRoot()): LeftService[] {
  // Of those that run libc is not asked again.
  const silent = folders(root).filter((name) => !running.includes(name));
  return silent.flatMap((name) => leftService(name, root) ?? []);
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

async function named(name: string, root: string): Promise<RunFolder> {
  const folder = new RunFolder(name);
  assertNotPlanted(folder.path);
  if (await isRunning(folder)) return folder;
  const left = leftService(name, root);
  if (left !== undefined) throw withoutSupervisor(left);
  const holder = folder.holder();
  if (holder !== undefined) {
    const who = holder > 0 ? ` (process ${holder})` : '';
    const what = `the supervisor of ${name}${who} is running, but its socket is missing; it creates a new one within seconds`;
    throw new MoultError('MOULT_PEER_TIMEOUT', what);
  }
  const running = await runningServices();
  const others = running.length === 0 ? 'no service runs' : `running now: ${running.join(', ')}`;
  throw new MoultError(
    'MOULT_NOT_RUNNING',
    `expected a running service named ${name}; ${others} (looked in ${root})${await elsewhere(root)}`,
  );
}

async function noneRuns(running: readonly string[], root: string): Promise<MoultError> {
  const [left] = leftServices(running, root);
  if (left !== undefined) return withoutSupervisor(left);
  const what = `no service of this user runs under moult (looked in ${root})${await elsewhere(root)}`;
  return new MoultError('MOULT_NOT_RUNNING', what);
}

/** Where else services may run whose commands were told another run folder: those of a login, of cron, of units. */
async function elsewhere(root: string): Promise<string> {
  const uid = process.geteuid?.() ?? 0;
  const units = listed('/run').filter((name) => name.startsWith('moult-'));
  const others = [
    `/run/user/${uid}/moult`,
    join(tmpdir(), `moult-${uid}`),
    `/tmp/moult-${uid}`,
    ...units.map((name) => `/run/${name}/moult`),
    ...listeningRoots(),
  ];
  const looked = [...new Set(others)].map(async (path) => {
    const names = path === root ? [] : await runningIn(path);
    if (names.length === 0) return [];
    const base = basename(path) === 'moult' ? `XDG_RUNTIME_DIR=${dirname(path)}` : 'no XDG_RUNTIME_DIR';
    return [visibleLine(`; ${names.join(', ')} in ${path} (with ${base})`)];
  });
  const found = (await Promise.all(looked)).flat();
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

async function runningIn(root: string): Promise<string[]> {
  try {
    assertNotPlanted(root);
    return await runningServices(root);
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
