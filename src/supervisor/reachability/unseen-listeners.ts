import { readFileSync } from 'node:fs';
import { sep } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { Logger } from 'pino';
import { MoultError } from '../../errors.js';
import { wallClockMs } from '../../os/clock.js';
import { inodeOf } from '../../os/descriptors/foreign-descriptor.js';
import { isForOneProcess } from '../../os/files/private-path.js';
import { sessionOf, socketsOf, treeOf } from '../../os/processes/proc-tree.js';
import { localPorts } from '../../os/sockets/local-ports.js';
import { tcpListeners, udpReceivers } from '../../os/sockets/socket-diag.js';
import { unixListeners } from '../../os/unix-sockets/unix-listeners.js';
import type { HeldListeners } from '../listeners/held-listeners.js';
import type { GenerationProcess } from '../process/generation-process.js';
import { howShown, type Shown, shownAs } from './shown-path.js';

/** How often to look in the first time of a generation, and later. */
const SOON_MS = 1000;
const LATER_MS = 30_000;
const FIRST_TIME_MS = 10_000;
/** How long a generation may take to show itself, before what listens in its tree is looked at. */
const SHOW_MS = 2000;
/** Between a listen and what is told of it. */
const SETTLE_MS = 300;
/** How long a generation may take to name what it listens on. */
const STATE_TIMEOUT_MS = 2000;
const MAX_COMMAND = 200;
/** Each Node has its own, and says so itself. Source: Node.js documentation, "Debugging". */
const INSPECTOR_PORT = 9229;
const UNIX = 'unix:';
/** A socket on which a process of the service's tree listens, and which moult does not hold. */
export interface UnseenListener {
  /** `127.0.0.1:9000`, `[::]:9000`, `udp:127.0.0.1:9000` or `unix:/run/app.sock`. */
  readonly address: string;
  readonly inode: number;
  readonly pid: number;
  /** The command line of that process. */
  readonly command: string;
  /** How clients come to a path that holds the number of that process. */
  readonly shown?: Shown;
}

/**
 * The sockets on which processes of a tree listen although moult does not hold them: native code, a process that moult was
 * not let into, a helper's own. They do not change hands. A path that holds the number of its process is that process's own affair,
 * unless a link leads to it, or it has been given another name.
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
      if (address === undefined || found.has(address)) continue;
      const path = address.startsWith(UNIX) ? address.slice(UNIX.length) : undefined;
      const isOwnAffair = path !== undefined && isForOneProcess(path, pid);
      const shown = isOwnAffair ? shownAs(path, pid, inode) : undefined;
      if (!isOwnAffair || shown !== undefined)
        found.set(address, { address, inode, pid, command: commandOf(pid), ...(shown && { shown }) });
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
  readonly #guarded = new WeakSet<GenerationProcess>();
  #isOn = false;
  #isOver = false;

  constructor(parts: UnseenParts) {
    this.#parts = parts;
  }

  /** Begins to look. */
  start(): void {
    this.#isOn = true;
    this.#later(SOON_MS);
  }

  /**
   * What a restart would leave with nobody, as was told: a process of this generation listens there, and none of the successor's.
   * Ports of the system's choice are not counted: another one may do as well.
   */
  leftBehind(generation: GenerationProcess, successor?: GenerationProcess): UnseenListener[] {
    if (this.#told.size === 0 || generation.exit !== undefined || generation.pid <= 0) return [];
    const { first, last } = localPorts();
    const isFixed = ({ address, shown }: UnseenListener) => {
      const port = address.startsWith(UNIX) ? 0 : Number(address.slice(address.lastIndexOf(':') + 1));
      return shown === undefined && (port < first || port > last);
    };
    // One with a session of its own stays when the service ends.
    const isItsOwn = ({ pid }: UnseenListener) => sessionOf(pid) === sessionOf(generation.pid);
    const ones = this.#unseen(generation).filter(
      (one) => this.#told.has(one.address) && isFixed(one) && isItsOwn(one),
    );
    if (ones.length === 0 || successor === undefined) return ones;
    const theirs = new Set(this.#unseen(successor).map(({ address }) => address));
    return ones.filter(({ address }) => !theirs.has(address));
  }

  /** Looks now at a generation that began a moment ago, so that it is known what a restart would leave behind. */
  async lookNow(generation: GenerationProcess): Promise<void> {
    const isKnown = !this.#isOn || age(generation.servingSince ?? 0) > FIRST_TIME_MS;
    if (!isKnown) await this.#look(generation).catch(() => {});
  }

  /** What processes of its predecessor listen on, this one must listen on, too, before it takes over. */
  guard(successor: GenerationProcess): void {
    this.#guarded.add(successor);
  }

  /**
   * Before a successor takes over: it is not to leave anybody behind.
   * @throws MOULT_NOT_REACHED with the addresses, who listens there, and what to do.
   */
  async assertNoneLeft(successor: GenerationProcess): Promise<void> {
    const { livingPredecessor: predecessor } = successor;
    if (predecessor === undefined || !this.#guarded.has(successor)) return;
    const deadlineMs = performance.now() + SHOW_MS;
    for (;;) {
      const left = this.leftBehind(predecessor, successor);
      if (left.length === 0 || successor.exit !== undefined) return;
      // One that shares the port by its own wish may open it a little later.
      if (performance.now() >= deadlineMs) throw wouldLeave(left, predecessor);
      await pause(SETTLE_MS, undefined, { ref: false });
    }
  }

  stop(): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
  }

  #later(ms: number): void {
    this.#timer = setTimeout(() => {
      const living = this.#parts.generations().filter(isLiving);
      const isNew = living.some(
        ({ startedAt, servingSince }) => age(servingSince ?? startedAt) < FIRST_TIME_MS,
      );
      const looked = Promise.all(living.map((generation) => this.#look(generation)));
      // What could not be seen is looked for again.
      void looked
        .catch(() => {})
        .then(() => {
          if (!this.#isOver) this.#later(isNew || living.length === 0 ? SOON_MS : LATER_MS);
        });
    }, ms).unref();
  }

  async #look(generation: GenerationProcess): Promise<void> {
    const { servingSince, startedAt, lifeline } = generation;
    // What a successor opens behind its gate is held from its commit on.
    if (
      servingSince === undefined
        ? lifeline !== undefined || age(startedAt) < SHOW_MS
        : age(servingSince) < SETTLE_MS
    )
      return;
    const first = this.#unseen(generation).filter(({ address }) => !this.#told.has(address));
    if (first.length === 0) return;
    // A port for a moment is not held, and one that has just been opened not yet: its generation knows of both.
    const known = await knownTo(generation);
    await pause(SETTLE_MS, undefined, { ref: false });
    if (this.#isOver || !isLiving(generation)) return;
    const still = new Set(this.#unseen(generation).map(({ inode }) => inode));
    for (const one of first) {
      // Each generation has a path of its own, and it is told once of all of them.
      const kind = one.shown === undefined ? one.address : one.address.replace(/\d+/g, 'N');
      if (known.has(one.address) || !still.has(one.inode) || this.#told.has(kind)) continue;
      this.#told.add(one.address).add(kind);
      this.#parts.log.warn(`generation ${generation.number}: ${whatItMeans(one)}`);
    }
  }

  #unseen(generation: GenerationProcess): UnseenListener[] {
    const { held, folder } = this.#parts;
    try {
      return unseenListeners(generation.pid, held.describe().descriptors, folder);
    } catch {
      // Without this the service runs as well; a kernel without sock_diag has nothing to tell.
      return [];
    }
  }
}

function whatItMeans({ address, pid, command, shown }: UnseenListener): string {
  const who = `process ${pid} (${command}) listens on ${address}`;
  if (shown === undefined)
    return (
      `${who}, which moult does not see. A restart does not pass it on: the new release finds it in use, and nothing listens there after ` +
      'the old one has exited'
    );
  return (
    `${who}, ${howShown(shown)}. moult cannot hold a path that contains a process number or a time: after a crash, clients are refused ` +
    'until the next process listens, and if a release fails after it has switched the link or the name, clients reach ' +
    'nobody. Listen on a fixed path: moult keeps that through both'
  );
}

function wouldLeave(left: readonly UnseenListener[], { number }: GenerationProcess): MoultError {
  const names = left.map(({ address }) => address);
  const who = left.map(({ address, pid, command }) => `${address} (process ${pid}: ${command})`).join(', ');
  const what =
    `expected the new release to listen wherever generation ${number} does, but nothing of it listens on ${who}. moult cannot hand that listener ` +
    'over: after the restart nobody would answer there. Open it in the main process or in the primary of ' +
    'node:cluster, or stop it first; --allow-fewer-listeners restarts without it';
  const details = { generation: number, problems: names };
  return new MoultError('MOULT_NOT_REACHED', what, { stage: 'check', serving: 'predecessor', details });
}

function isLiving({ isOurs, isEnding, exit }: GenerationProcess): boolean {
  return isOurs && !isEnding && exit === undefined;
}

/** The TCP addresses of all listeners that a generation names; none where it does not answer. */
async function knownTo(generation: GenerationProcess): Promise<Set<string>> {
  if (generation.lifeline === undefined) return new Set();
  const state = await generation.state(STATE_TIMEOUT_MS).catch(() => undefined);
  return new Set(
    state?.listeners.flatMap(({ address: { address, port } }) =>
      typeof address === 'string' && typeof port === 'number' ? [tcpAddress(address, port)] : [],
    ),
  );
}

function tcpAddress(host: string, port: number): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** Addresses by inodes. */
function listening(folder: string): Map<number, string> {
  const tcp = tcpListeners()
    .filter(({ port }) => port !== INSPECTOR_PORT)
    .map(({ inode, host, port }) => [inode, tcpAddress(host, port)] as const);
  // A socket from which a client sends has a port of the system's choice.
  const { first, last } = localPorts();
  const udp = udpReceivers()
    .filter(({ port }) => port < first || port > last)
    .map((one) => [one.inode, `udp:${tcpAddress(one.host, one.port)}`] as const);
  const unix = unixListeners()
    .filter(({ path }) => !path.startsWith(folder + sep))
    .map(({ inode, path }) => [inode, UNIX + path] as const);
  return new Map([...tcp, ...udp, ...unix]);
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
