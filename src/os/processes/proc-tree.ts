import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { basename } from 'node:path';
import { codeRunsSince } from './program-start.js';

/** Source: Linux include/asm-generic/param.h, USER_HZ. */
const TICKS_PER_SECOND = 100;
/** Set before its files are closed, so before who is connected to it is told. Source: Linux kernel/exit.c, do_exit. */
const PF_EXITING = 4;

/** What a process is to others. Source: proc(5), /proc/pid/stat, fields 3, 4, 6, 9 and 22. */
interface Kinship {
  readonly parent: number;
  readonly session: number;
  /** When it began, since the start of the system. */
  readonly startedTicks: number;
  /** Whether only its status is left, which nobody has asked for yet. */
  readonly hasEnded: boolean;
  /** Whether it runs nothing of its program any more. */
  readonly isEnding: boolean;
}

/**
 * The processes of a tree: the one that leads a session, all of that session, and all that they have started
 * since, as far as those that link them live.
 */
export function treeOf(leader: number): number[] {
  const all = new Map<number, Kinship>();
  for (const name of readdirSync('/proc')) {
    const kinship = /^\d+$/.test(name) ? kinshipOf(Number(name)) : undefined;
    if (kinship !== undefined) all.set(Number(name), kinship);
  }
  const belongs = (pid: number, steps = 0): boolean => {
    const kinship = all.get(pid);
    if (pid === leader) return true;
    if (kinship === undefined || steps > all.size) return false;
    return kinship.session === leader || belongs(kinship.parent, steps + 1);
  };
  return [...all.keys()].filter((pid) => belongs(pid));
}

/**
 * Whether a process belongs to the tree of this leader; undefined when it, or one that links them, ended before that
 * was seen, and nobody can tell.
 */
export function isOfTree(pid: number, leader: number): boolean | undefined {
  for (let at = pid; at !== leader; ) {
    const kinship = kinshipOf(at);
    if (kinship === undefined) return undefined;
    if (kinship.session === leader) return true;
    if (kinship.parent <= 1) return false;
    at = kinship.parent;
  }
  return true;
}

/** The processes of the session that this one led and has ended, as far as they run still. */
export function livingOfSession(leader: number): number[] {
  return readdirSync('/proc').flatMap((name) => {
    const kinship = /^\d+$/.test(name) ? kinshipOf(Number(name)) : undefined;
    const isLiving = kinship?.session === leader && Number(name) !== leader && !kinship.hasEnded;
    return isLiving ? [Number(name)] : [];
  });
}

/** The process that leads the session of this one, which may have ended; undefined when this one has. */
export function sessionOf(pid: number): number | undefined {
  return kinshipOf(pid)?.session;
}

/**
 * Whether the end of a process is the affair of the program that started it, which hears of it: it descends from one that
 * this program has started, or that a launcher in Node has. Shells start processes and leave them. The one that became this
 * program by `exec` may have started others before, which are children of this process, too.
 * @returns true as well where those that link them have ended, and nobody can tell.
 */
export function isAffairOfParent(pid: number): boolean {
  for (let at = pid; ; ) {
    const kinship = kinshipOf(at);
    if (kinship === undefined || kinship.parent <= 1) return true;
    if (kinship.parent === process.pid) return startedAtMs(kinship) >= codeRunsSince();
    if (isNode(kinship.parent)) return true;
    // One outside this session has only adopted it, as `systemd --user` does. Source: prctl(2), PR_SET_CHILD_SUBREAPER.
    if (isAncestor(kinship.parent)) return sessionOf(kinship.parent) !== sessionOf(process.pid);
    at = kinship.parent;
  }
}

// In the middle of the tick in which it began.
function startedAtMs({ startedTicks }: Kinship): number {
  return ((startedTicks + 0.5) * 1000) / TICKS_PER_SECOND;
}

function isNode(pid: number): boolean {
  try {
    const program = readlinkSync(`/proc/${pid}/exe`);
    return program === readlinkSync('/proc/self/exe') || /^node/.test(basename(program));
  } catch {
    // It is another user's, or has ended.
    return false;
  }
}

function isAncestor(pid: number): boolean {
  for (let at = process.pid; at > 1; at = kinshipOf(at)?.parent ?? 0) if (at === pid) return true;
  return false;
}

/** The inodes of the sockets that a process has open; none where it may not be looked into. */
export function socketsOf(pid: number): Set<number> {
  const inodes = new Set<number>();
  for (const fd of names(`/proc/${pid}/fd`)) {
    const inode = socketInode(`/proc/${pid}/fd/${fd}`);
    if (inode !== undefined) inodes.add(inode);
  }
  return inodes;
}

/** When a process began, since the start of the system, by which it is told from another of its number; undefined once it ends. */
export function runsSince(pid: number): number | undefined {
  const kinship = kinshipOf(pid);
  return kinship === undefined || kinship.hasEnded || kinship.isEnding ? undefined : kinship.startedTicks;
}

/** Whether a process has a socket open; undefined where it may not be looked into. */
export function hasSocket(pid: number, inode: number): boolean | undefined {
  let fds: string[];
  try {
    fds = readdirSync(`/proc/${pid}/fd`);
  } catch (error) {
    // One that has ended has none.
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? false : undefined;
  }
  return fds.some((fd) => socketInode(`/proc/${pid}/fd/${fd}`) === inode);
}

/** A process, and the name of its program. */
export interface NamedProcess {
  readonly pid: number;
  readonly name: string;
}

/** A process that has a socket open; undefined where none of those that may be looked into has. */
export function holderOf(inode: number): NamedProcess | undefined {
  for (const entry of names('/proc')) {
    if (/^\d+$/.test(entry) && hasSocket(Number(entry), inode) === true)
      return { pid: Number(entry), name: nameOf(Number(entry)) };
  }
  return undefined;
}

function nameOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
  } catch {
    return 'ended since';
  }
}

/** The inode of the socket at a path of /proc. */
function socketInode(path: string): number | undefined {
  try {
    const inode = /^socket:\[(\d+)\]$/.exec(readlinkSync(path))?.[1];
    return inode === undefined ? undefined : Number(inode);
  } catch {
    // It was closed just now.
    return undefined;
  }
}

/** Bytes of memory that a process has resident; 0 when it has ended. Source: proc(5), VmRSS. */
export function residentBytes(pid: number): number {
  try {
    return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) * 1024;
  } catch {
    return 0;
  }
}

function kinshipOf(pid: number): Kinship | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name of the program may have spaces and brackets.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const session = Number(fields[3]);
    // One that the kernel is about to forget has no family any more. Source: Linux fs/proc/array.c, do_task_stat.
    return session === -1
      ? undefined
      : {
          parent: Number(fields[1]),
          session,
          startedTicks: Number(fields[19]),
          hasEnded: /[ZX]/.test(fields[0] ?? ''),
          isEnding: (Number(fields[6]) & PF_EXITING) !== 0,
        };
  } catch {
    return undefined;
  }
}

function names(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
