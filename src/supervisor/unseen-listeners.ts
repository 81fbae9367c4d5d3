import { readFileSync } from 'node:fs';
import { sep } from 'node:path';
import type { Logger } from 'pino';
import { wallClockMs } from '../os/clock.js';
import { inodeOf } from '../os/foreign-descriptor.js';
import { socketsOf, treeOf } from '../os/kin.js';
import { tcpListeners } from '../os/socket-diag.js';
import { unixListeners } from '../os/unix-listeners.js';
import type { GenerationProcess } from './generation-process.js';
import type { HeldListeners } from './held-listeners.js';

/** So often it is looked in the first time of a generation, and later. */
const SOON_MS = 1000;
const LATER_MS = 30_000;
const FIRST_TIME_MS = 10_000;
/** How long a generation may take to show itself, before what listens in its tree is looked at. */
const SHOW_MS = 2000;
/** Between a listen and what is told of it. */
const SETTLE_MS = 300;
const MAX_COMMAND = 200;
/** Each Node has its own, and says so itself. Source: Node.js documentation, "Debugging". */
const INSPECTOR_PORT = 9229;

/** A socket on which a process of the service's tree listens, and which moult does not hold. */
export interface UnseenListener {
  /** `127.0.0.1:9000`, `[::]:9000` or `unix:/run/app.sock`. */
  readonly address: string;
  readonly pid: number;
  /** The command line of that process. */
  readonly command: string;
}

/**
 * The sockets on which processes of a tree listen although moult does not hold them: native code, a process that moult was
 * not let into, a helper's own. They do not change hands.
 * @param leader the process that was started.
 * @param held our copies of the listeners.
 * @param folder the run folder: moult's own sockets are there.
 * @returns none where the kernel does not tell, or may not be asked of these processes.
 */
export function unseenListeners(leader: number, held: readonly number[], folder: string): UnseenListener[] {
  const addresses = listening(folder);
  for (const fd of held) addresses.delete(inodeOf(fd));
  if (addresses.size === 0) return [];
  const found = new Map<string, UnseenListener>();
  for (const pid of treeOf(leader)) {
    for (const inode of socketsOf(pid)) {
      const address = addresses.get(inode);
      if (address !== undefined && !found.has(address))
        found.set(address, { address, pid, command: commandOf(pid) });
    }
  }
  return [...found.values()];
}

/** What is looked at, and where it is told. */
export interface UnseenParts {
  readonly generations: () => readonly GenerationProcess[];
  readonly held: HeldListeners;
  readonly folder: string;
  readonly log: Logger;
}

/** Looks from time to time for what moult does not see, and tells of each once: an operator has to know before a restart. */
export class UnseenWatch {
  readonly #parts: UnseenParts;
  readonly #told = new Set<string>();
  #timer: NodeJS.Timeout | undefined;

  constructor(parts: UnseenParts) {
    this.#parts = parts;
  }

  /** Begins to look. */
  start(): void {
    this.#later(SOON_MS);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #later(ms: number): void {
    this.#timer = setTimeout(() => {
      const living = this.#parts
        .generations()
        .filter(({ isOurs, isEnding, exit }) => isOurs && !isEnding && exit === undefined);
      for (const generation of living) this.#look(generation);
      const isNew = living.some(
        ({ startedAt, servingSince }) => age(servingSince ?? startedAt) < FIRST_TIME_MS,
      );
      this.#later(isNew || living.length === 0 ? SOON_MS : LATER_MS);
    }, ms).unref();
  }

  #look(generation: GenerationProcess): void {
    const { held, folder, log } = this.#parts;
    const { servingSince, startedAt, lifeline } = generation;
    // What a successor opens behind its gate is held from its commit on.
    if (
      servingSince === undefined
        ? lifeline !== undefined || age(startedAt) < SHOW_MS
        : age(servingSince) < SETTLE_MS
    )
      return;
    for (const { address, pid, command } of this.#unseen(generation, held.describe().descriptors, folder)) {
      if (this.#told.has(address)) continue;
      this.#told.add(address);
      log.warn(
        `generation ${generation.number}: process ${pid} (${command}) listens on ${address}, which moult does not see. A restart does not pass it on: the new release finds it taken, and nobody listens there once the old one has ended`,
      );
    }
  }

  #unseen(generation: GenerationProcess, held: readonly number[], folder: string): UnseenListener[] {
    try {
      return unseenListeners(generation.pid, held, folder);
    } catch {
      // Without this the service runs as well; a kernel without sock_diag has nothing to tell.
      return [];
    }
  }
}

/** Addresses by inodes. */
function listening(folder: string): Map<number, string> {
  const tcp = tcpListeners()
    .filter(({ port }) => port !== INSPECTOR_PORT)
    .map(({ inode, host, port }) => [inode, `${host.includes(':') ? `[${host}]` : host}:${port}`] as const);
  const unix = unixListeners()
    .filter(({ path }) => !path.startsWith(folder + sep))
    .map(({ inode, path }) => [inode, `unix:${path}`] as const);
  return new Map([...tcp, ...unix]);
}

function commandOf(pid: number): string {
  try {
    const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1);
    return words.join(' ').slice(0, MAX_COMMAND);
  } catch {
    return 'it has ended';
  }
}

function age(sinceMs: number): number {
  return wallClockMs() - sinceMs;
}
