import { MoultError } from '../errors.js';
import { namesOf } from '../lifecycle/listener-names.js';
import { wallClockMs } from '../os/clock.js';
import { socketsOf, treeOf } from '../os/kin.js';
import { ProbeConnection, type ProbeTarget } from '../os/probe-connection.js';
import { type SocketName, socketIdentity } from '../os/socket-identity.js';
import { MAX_SOCKET_PATH_BYTES } from '../os/unix-socket.js';
import type { ListenerItem } from '../protocol/messages.js';
import type { GenerationProcess } from './generation-process.js';
import type { HeldListeners } from './held-listeners.js';

/** How often it is looked whether a connection was accepted, at first and later. */
const LOOK_MS = 1;
const MAX_LOOK_MS = 100;
const ASK_AFTER_MS = 8;
/** What a kernel says of an address that cannot be reached from this very machine, which proves nothing. */
const NO_WAY_THERE = ['EHOSTUNREACH', 'ENETUNREACH', 'EADDRNOTAVAIL', 'EACCES', 'EPERM', 'ETIMEDOUT'];

/** What was found. */
export interface Look {
  /** How many listeners were looked at. */
  readonly looked: number;
  /** How long that took, in milliseconds. */
  readonly lookMs: number;
}

interface LookParts {
  readonly held: HeldListeners;
  /** How long a generation may take to accept, in milliseconds. */
  readonly withinMs: number;
  /** All that may accept in place of one, such as those of other slots, with it. */
  readonly acceptors: (generation: GenerationProcess) => readonly GenerationProcess[];
}

interface Looked {
  readonly item: ListenerItem;
  readonly probe: ProbeConnection | undefined;
}

/**
 * Looks from outside, as a client does, whether a generation is found where it should be: each of its listeners is there,
 * a connection to each address is accepted by it and by nobody else, and each path leads to its socket.
 */
export class OutsideLook {
  readonly #parts: LookParts;
  #last: Promise<unknown> = Promise.resolve();

  constructor(parts: LookParts) {
    this.#parts = parts;
  }

  /**
   * Looks at all listeners of a generation that serves. What can be mended is mended.
   * @throws MOULT_NOT_REACHED with what is missing, what was opened instead, and since when.
   */
  at(generation: GenerationProcess): Promise<Look> {
    // One at a time: a generation answers for one.
    const look = this.#last.then(() => this.#look(generation));
    this.#last = look.catch(() => {});
    return look;
  }

  async #look(generation: GenerationProcess): Promise<Look> {
    const { held, withinMs, acceptors } = this.#parts;
    // Programs that do not know of looks would see a client: of those the kernel is asked.
    const witnesses = acceptors(generation).filter((one) => one.looks && one.isReachable);
    const looked = this.#listeners(generation, witnesses.includes(generation));
    const beganMs = performance.now();
    const untilMs = beganMs + withinMs;
    const problems: string[] = [];
    try {
      const seen = new Set<string>();
      const own = await this.#announce(generation, witnesses, looked, seen);
      const isOpen = (name: string) => own === undefined || own.listeners.includes(name);
      if (own !== undefined) problems.push(...missing(generation, this.#expected(generation), own));
      for (const { path, name, outcome, since } of held.paths?.look() ?? []) {
        const what = outcome === 'taken' ? `something else is at ${path}` : `${path} is gone`;
        if (isOf(generation, name)) problems.push(`${name} is not found: ${what}${ago(since)}`);
      }
      const open = looked.filter(({ item }) => isOpen(item.name));
      for (const { item } of open) {
        // It may have brought another copy meanwhile.
        const fd = held.descriptorOf(item.name);
        if (item.family !== 'udp' && fd !== undefined && socketIdentity(fd)?.isListening !== true)
          problems.push(`${item.name} was shut down: nobody accepts there`);
      }
      for (const { probe } of open) probe?.start();
      const found = await Promise.all(open.map((one) => this.#accepted(one, witnesses, seen, untilMs)));
      problems.push(...found.flatMap((problem) => problem ?? []));
    } finally {
      for (const one of witnesses) one.lookIsOver();
      for (const { probe } of looked) probe?.close();
    }
    if (problems.length === 0) return { looked: looked.length, lookMs: performance.now() - beganMs };
    throw new MoultError(
      'MOULT_NOT_REACHED',
      `clients do not reach generation ${generation.number}: ${[...new Set(problems)].join('; ')}`,
      { details: { generation: generation.number, problems } },
    );
  }

  /** @returns what it says of itself. @throws MOULT_PEER_CLOSED, MOULT_PEER_TIMEOUT */
  async #announce(
    generation: GenerationProcess,
    witnesses: readonly GenerationProcess[],
    looked: readonly Looked[],
    seen: Set<string>,
  ): Promise<Awaited<ReturnType<GenerationProcess['look']>> | undefined> {
    const probes = looked.flatMap(({ item, probe }) =>
      probe === undefined ? [] : [{ listener: item.name, from: probe.from }],
    );
    const answers = witnesses.map((one) => {
      const answer = one.look(probes, (name) => seen.add(name), this.#parts.withinMs);
      // What another slot does is no affair of this one.
      return one === generation ? answer : answer.catch(() => undefined);
    });
    return (await Promise.all(answers))[witnesses.indexOf(generation)];
  }

  #expected({ predecessor }: GenerationProcess): ReadonlySet<string> {
    return new Set(predecessor === undefined ? [] : this.#parts.held.namesOf(predecessor.number));
  }

  #listeners(generation: GenerationProcess, areProbed: boolean): Looked[] {
    const { items, descriptors } = this.#parts.held.describe();
    return items.flatMap((item, i) => {
      const fd = descriptors[i] ?? -1;
      if (item.family === 'file' || item.spare || !isOf(generation, item.name)) return [];
      const target = areProbed && item.family !== 'udp' ? targetOf(item, fd) : undefined;
      return [{ item, probe: target === undefined ? undefined : probeOf(target) }];
    });
  }

  /** @returns what is wrong. */
  async #accepted(
    { item: { name }, probe }: Looked,
    witnesses: readonly GenerationProcess[],
    seen: ReadonlySet<string>,
    untilMs: number,
  ): Promise<string | undefined> {
    if (probe === undefined) return undefined;
    for (let waitMs = LOOK_MS; !seen.has(name); waitMs = Math.min(waitMs * 2, MAX_LOOK_MS)) {
      const state = probe.look();
      if (typeof state === 'object') {
        if (NO_WAY_THERE.includes(state.failed)) return undefined;
        return `a connection to ${name} failed with ${state.failed}`;
      }
      const isLate = performance.now() > untilMs;
      // A worker thread does not tell, nor does another process of the tree; and it costs more to ask the kernel.
      const inode = state === 'connected' && (isLate || waitMs > ASK_AFTER_MS) ? probe.acceptedAs() : 0;
      const isAccepted = inode !== undefined && inode > 0;
      if (isAccepted && witnesses.some((one) => isHeldBy(one, inode))) return undefined;
      if (isLate && isAccepted) return `a connection to ${name} was accepted by another process`;
      if (isLate) return `nobody accepted a connection to ${name} within ${this.#parts.withinMs} ms`;
      await new Promise((resolve) => setTimeout(resolve, waitMs));
    }
    return undefined;
  }
}

// What this process lacks itself proves nothing of the service, which tells what it has, as the kernel does.
function probeOf(target: ProbeTarget): ProbeConnection | undefined {
  try {
    return ProbeConnection.to(target);
  } catch {
    return undefined;
  }
}

function isHeldBy({ servicePid, pid }: GenerationProcess, inode: number): boolean {
  const has = (one: number) => socketsOf(one).has(inode);
  return has(servicePid) || (pid > 0 && treeOf(pid).some(has));
}

function isOf({ claims, late }: GenerationProcess, name: string): boolean {
  return (claims === undefined || claims.has(name)) && late?.has(name) !== true;
}

function missing(
  generation: GenerationProcess,
  expected: ReadonlySet<string>,
  { listeners, closed }: Awaited<ReturnType<GenerationProcess['look']>>,
): string[] {
  const lacks = [...expected].filter((name) => !listeners.includes(name) && isOf(generation, name));
  const instead = listeners.filter((name) => generation.claims?.has(name) !== true);
  const opened = instead.length === 0 ? '' : `, and listens on ${namesOf(instead)} instead`;
  return lacks.map((name) => {
    const at = closed.find((one) => one.name === name)?.at;
    return `its service has closed ${name}${at === undefined ? '' : ago(at)}${opened}`;
  });
}

function ago(sinceMs: number): string {
  return `, ${((wallClockMs() - sinceMs) / 1000).toFixed(1)} s ago`;
}

function targetOf({ path }: ListenerItem, fd: number): ProbeTarget | undefined {
  const address: SocketName | undefined = socketIdentity(fd)?.address;
  if (address === undefined || address.family === 'other') return undefined;
  if (address.family === 'unix') {
    const at = path ?? address.path;
    // One that was bound by a shorter way cannot be connected to by its whole path.
    return Buffer.byteLength(at) > MAX_SOCKET_PATH_BYTES || at === '' ? undefined : { path: at };
  }
  const loopback: Readonly<Record<string, string>> = { '0.0.0.0': '127.0.0.1', '::': '::1' };
  return { host: loopback[address.host] ?? address.host, port: address.port };
}
