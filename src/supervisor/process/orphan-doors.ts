import { readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { holderOf, isOfTree, sessionOf } from '../../os/processes/proc-tree.js';
import { startTicks } from '../../os/processes/process.js';
import { isTrusted } from '../../os/unix-sockets/peer.js';
import { unixListeners } from '../../os/unix-sockets/unix-listeners.js';
import { listenerAt } from '../../os/unix-sockets/unix-socket.js';
import type { LeftBehind } from './journal-replay.js';

const DOOR = /^g(\d{1,9})-(\d{1,10})\.sock$/;

/** The socket of a generation that lives, whoever started it. */
export interface LeftDoor {
  readonly path: string;
  readonly generation: number;
  /** The process that listens there. */
  readonly pid: number;
}

/** The sockets at which generations listen that have, or had, their place in this run folder: it may have been removed under them. */
export function leftDoors(folder: string): LeftDoor[] {
  const found = namesIn(folder).flatMap((name) => {
    const generation = generationOf(name);
    if (generation === undefined) return [];
    const path = join(folder, name);
    const pid = listenerAt(path)?.pid ?? 0;
    return pid > 0 ? [{ path, generation, pid }] : [];
  });
  const removed = removedDoors(folder).filter(({ pid }) => !found.some((one) => one.pid === pid));
  return [...found, ...removed];
}

/** Whether a process other than this one is the service of a generation already, as its socket in the run folder shows. */
export function isServiceOfDoor(folder: string, generation: number, pid: number): boolean {
  return namesIn(folder)
    .filter((name) => generationOf(name) === generation)
    .some((name) => ![0, pid].includes(listenerAt(join(folder, name))?.pid ?? 0));
}

// The kernel names a socket by its path as long as somebody listens there.
function removedDoors(folder: string): LeftDoor[] {
  try {
    return unixListeners().flatMap(({ path, inode }) => {
      const generation = dirname(path) === folder ? generationOf(basename(path)) : undefined;
      const pid = generation === undefined ? undefined : holderOf(inode)?.pid;
      // In a namespace of its own anybody may have given a socket such a path.
      if (generation === undefined || pid === undefined || !isTrusted(statSync(`/proc/${pid}`).uid))
        return [];
      return [{ path, generation, pid }];
    });
  } catch {
    // There is no descriptor to look with, or one has just ended: those that live come by themselves.
    return [];
  }
}

function generationOf(name: string): number | undefined {
  const generation = Number(DOOR.exec(name)?.[1]);
  return Number.isSafeInteger(generation) && generation >= 1 ? generation : undefined;
}

/**
 * The generations that live and of which the journal tells nothing, because lines of it were lost.
 * @param known those of which it tells.
 * @param startedFrom what they are taken to have been started from.
 */
export function unknownGenerations(
  doors: readonly LeftDoor[],
  known: readonly LeftBehind[],
  startedFrom: LeftBehind['startedFrom'],
): LeftBehind[] {
  return doors.flatMap(({ generation, pid }) => {
    if (known.some((one) => isOfTree(pid, one.pid) === true)) return [];
    return leftBehind(pid, generation, startedFrom) ?? [];
  });
}

/**
 * A generation of which nothing is known but its service's process.
 * @returns undefined when that has ended.
 */
export function leftBehind(
  service: number,
  generation: number,
  startedFrom: LeftBehind['startedFrom'],
): LeftBehind | undefined {
  // The process that was started leads a session; the service may be one below it.
  const leader = sessionOf(service);
  const pid = leader !== undefined && startTicks(leader) !== undefined ? leader : service;
  const ticks = startTicks(pid);
  if (ticks === undefined) return undefined;
  return { generation, pid, ticks, startedFrom, isProved: false, slot: slotOf(service) };
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

// As it was told when it was started.
function slotOf(pid: number): number | undefined {
  try {
    const variables = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
    const value = variables.find((one) => one.startsWith('MOULT_SLOT='))?.slice('MOULT_SLOT='.length);
    return value !== undefined && /^\d{1,4}$/.test(value) ? Number(value) : undefined;
  } catch {
    return undefined;
  }
}
