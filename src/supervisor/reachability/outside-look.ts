import { asMoultError, MoultError } from '../../errors.js';
import { namesOf } from '../../lifecycle/listener-names.js';
import { wallClockMs } from '../../os/clock.js';
import { isInOtherNetwork } from '../../os/sockets/network-namespace.js';
import type { ProbeTarget } from '../../os/sockets/probe-connection.js';
import { type SocketName, socketIdentity } from '../../os/sockets/socket-identity.js';
import { MAX_SOCKET_PATH_BYTES } from '../../os/unix-sockets/unix-socket.js';
import type { ListenerItem } from '../../protocol/messages.js';
import type { HeldListeners } from '../listeners/held-listeners.js';
import type { GenerationProcess } from '../process/generation-process.js';
import type { LookAnswer } from '../process/service-questions.js';
import { sharersOf } from './port-sharers.js';
import { type Acceptance, Probes } from './probes.js';

/** For so long counts what was found. */
const FRESH_MS = 100;

/** What was found. */
export interface Look {
  /** How many listeners were looked at. */
  readonly looked: number;
  /** Of how many others nothing could be found out, for want of descriptors or ports. */
  readonly untried?: number;
  /** The names of those that are held for its service, which has yet to listen on them. */
  readonly late?: readonly string[];
  /** How long that took, in milliseconds. */
  readonly lookMs: number;
}

interface LookParts extends Acceptance {
  readonly held: HeldListeners;
  /** How long a generation may take to accept, in milliseconds. */
  readonly withinMs: () => number;
}

interface Looked {
  readonly item: ListenerItem;
  readonly target: ProbeTarget | undefined;
}

/**
 * Looks from outside, as a client does, whether a generation is found where it should be: each of its listeners is there,
 * a connection to each address is accepted by it and by nobody else, and each path leads to its socket.
 */
export class OutsideLook {
  readonly #parts: LookParts;
  #last: Promise<unknown> = Promise.resolve();
  #probes: Probes | undefined;
  /** How many looks are under way or asked for that somebody waits for. */
  #urgent = 0;
  /** Whether the one that is under way can wait. */
  #canWait = false;

  constructor(parts: LookParts) {
    this.#parts = parts;
  }

  /**
   * Looks at all listeners of a generation that serves. What can be mended is mended.
   * @throws MOULT_NOT_REACHED with what is missing, what was opened instead, and since when.
   */
  at(generation: GenerationProcess): Promise<Look> {
    this.#urgent += 1;
    if (this.#canWait) this.#probes?.giveUp();
    return this.#next(async () => {
      try {
        return await this.#look(generation);
      } catch (error) {
        throw noted(generation, error);
      } finally {
        this.#urgent -= 1;
      }
    });
  }

  /**
   * The same where it was found just now: that counts still. What is said to be done may have taken longer than it took to look.
   * @throws MOULT_NOT_REACHED
   */
  async anew(generation: GenerationProcess): Promise<void> {
    const { isThere, atMs = 0 } = generation.found;
    if (!isThere || performance.now() - atMs > FRESH_MS) await this.at(generation);
  }

  /**
   * The same for who can wait, and holds nobody up.
   * @returns nothing where another look was asked for meanwhile; it may be asked for again at once then.
   * @throws MOULT_NOT_REACHED
   */
  whenIdle(generation: GenerationProcess): Promise<Look | undefined> {
    return this.#next(async () => {
      if (this.#urgent > 0) return undefined;
      this.#canWait = true;
      try {
        return await this.#look(generation);
      } catch (error) {
        if (this.#urgent > 0) return undefined;
        throw noted(generation, error);
      } finally {
        this.#canWait = false;
      }
    });
  }

  // One at a time: a generation answers for one.
  #next<T>(look: () => Promise<T>): Promise<T> {
    const next = this.#last.then(look);
    this.#last = next.catch(() => {});
    return next;
  }

  /** Who may accept has changed. */
  turned(): void {
    this.#probes?.turned();
  }

  async #look(generation: GenerationProcess): Promise<Look> {
    const { held, withinMs } = this.#parts;
    // Programs that do not know of looks would see a client: of those the kernel is asked.
    const areProbed = generation.looks;
    const looked = this.#listeners(generation, areProbed);
    const beganMs = performance.now();
    if (areProbed && !generation.isReachable) throw notReached(generation, ['its service is gone']);
    // A worker that is busy all the time answers nothing; one that was adopted has yet to tell of what it has.
    if (looked.length + this.#expected(generation).size === 0 && !generation.isAdopted)
      return found(generation, { looked: 0, lookMs: 0 });
    const problems: string[] = [];
    const probes = new Probes(generation, this.#parts, withinMs());
    this.#probes = probes;
    try {
      const targets = looked.flatMap(({ item, target }) =>
        target === undefined
          ? []
          : [[item.name, { target, descriptor: () => held.descriptorOf(item.name) }] as const],
      );
      const own = await probes.announce(new Map(targets));
      // One that comes back tells of its listeners before it answers.
      if (this.#listeners(generation, areProbed).length > looked.length) return await this.#look(generation);
      const items = areProbed ? looked.map(({ item }) => item) : [];
      const sharers = sharersOf(items, held, this.#parts.living());
      problems.push(...sharers.problems.values());
      const isOpen = (name: string) => own === undefined || own.listeners.includes(name);
      if (own !== undefined) problems.push(...missing(generation, this.#expected(generation), own));
      for (const { path, name, outcome, since } of held.paths?.look() ?? []) {
        const what = outcome === 'taken' ? `something else is at ${path}` : `${path} is gone`;
        if (isOf(generation, name)) problems.push(`${name} cannot be reached: ${what}${ago(since)}`);
      }
      for (const { item } of looked.filter(({ item: { name } }) => isOpen(name))) {
        // It may have brought another copy meanwhile.
        const fd = held.descriptorOf(item.name);
        if (item.family !== 'udp' && fd !== undefined && socketIdentity(fd)?.isListening !== true)
          problems.push(`${item.name} was shut down: nobody accepts there`);
      }
      // Where somebody else may accept a connection, waiting for it tells no more.
      const found = await probes.follow((name) => isOpen(name) && !sharers.problems.has(name));
      // It may have closed one while it was looked.
      if (found.length > 0 && probes.said !== undefined)
        problems.push(...missing(generation, this.#expected(generation), probes.said));
      problems.push(...found);
      if (sharers.unseen.size > 0)
        problems.push(...sharersOf(items, held, this.#parts.living(), sharers.unseen).problems.values());
    } finally {
      this.#probes = undefined;
      probes.close();
    }
    if (problems.length === 0) {
      const { untried, said } = probes;
      const rest = { ...(untried === 0 ? {} : { untried }), ...(said?.late && { late: said.late }) };
      return found(generation, {
        looked: looked.length - untried,
        ...rest,
        lookMs: performance.now() - beganMs,
      });
    }
    throw notReached(generation, problems);
  }

  #expected({ predecessor, inherited }: GenerationProcess): ReadonlySet<string> {
    const names = predecessor === undefined ? [] : this.#parts.held.namesOf(predecessor.number);
    return new Set([...names, ...inherited]);
  }

  #listeners(generation: GenerationProcess, areProbed: boolean): Looked[] {
    const { held } = this.#parts;
    const { items, descriptors } = held.describe();
    return items.flatMap((item, i) => {
      const fd = descriptors[i] ?? -1;
      if (item.family === 'file' || item.spare || !isOf(generation, item.name)) return [];
      // A successor that was undone has had it elsewhere, and removes that at its end.
      const path = held.paths?.pathOf(item.name, generation.number) ?? item.path;
      return [{ item, target: areProbed && item.family !== 'udp' ? targetOf(path, fd) : undefined }];
    });
  }
}

function found(generation: GenerationProcess, look: Look): Look {
  generation.found = { isThere: true, atMs: performance.now() };
  return look;
}

function noted(generation: GenerationProcess, error: unknown): unknown {
  generation.found = { isThere: false, instead: asMoultError(error, 'MOULT_NOT_REACHED').message };
  return error;
}

function notReached({ number }: GenerationProcess, problems: readonly string[]): MoultError {
  const what = `clients do not reach generation ${number}: ${[...new Set(problems)].join('; ')}`;
  return new MoultError('MOULT_NOT_REACHED', what, { details: { generation: number, problems } });
}

function isOf({ claims, late }: GenerationProcess, name: string): boolean {
  return (claims === undefined || claims.has(name)) && late?.has(name) !== true;
}

function missing(
  generation: GenerationProcess,
  expected: ReadonlySet<string>,
  { listeners, closed, processes = [] }: LookAnswer,
): string[] {
  const lacks = [...expected].filter((name) => !listeners.includes(name) && isOf(generation, name));
  const instead = listeners.filter((name) => generation.claims?.has(name) !== true);
  const opened = instead.length === 0 ? '' : `, and listens on ${namesOf(instead)} instead`;
  return lacks.map((name) => {
    if (processes.some((one) => one.name === name && one.pids.length === 0))
      return `nobody receives on ${name}: the last process or thread of its service that did has ended`;
    const at = closed.find((one) => one.name === name)?.at;
    return `its service has closed ${name}${at === undefined ? '' : ago(at)}${opened}`;
  });
}

function ago(sinceMs: number): string {
  return `, ${((wallClockMs() - sinceMs) / 1000).toFixed(1)} s ago`;
}

function targetOf(path: string | null, fd: number): ProbeTarget | undefined {
  const address: SocketName | undefined = socketIdentity(fd)?.address;
  if (address === undefined || address.family === 'other') return undefined;
  // Its addresses may be those of others here.
  if ((address.family !== 'unix' || address.path.startsWith('\0')) && isInOtherNetwork(fd)) return undefined;
  if (address.family === 'unix') {
    const at = path ?? address.path;
    // One that was bound by a shorter way cannot be connected to by its whole path.
    return Buffer.byteLength(at) > MAX_SOCKET_PATH_BYTES || at === '' ? undefined : { path: at };
  }
  const loopback: Readonly<Record<string, string>> = { '0.0.0.0': '127.0.0.1', '::': '::1' };
  return { host: loopback[address.host] ?? address.host, port: address.port };
}
