/*
 * Over 300 lines: what each state of a connection proves is judged in one place, with all that it is judged by.
 */
import { MoultError } from '../../errors.js';
import { holderOf } from '../../os/processes/proc-tree.js';
import { ProbeConnection, type ProbeTarget } from '../../os/sockets/probe-connection.js';
import { hasRoom } from '../../os/sockets/reuseport.js';
import { socketIdentity } from '../../os/sockets/socket-identity.js';
import type { GenerationProcess } from '../process/generation-process.js';
import type { LookAnswer } from '../process/service-questions.js';
import { Acceptor } from './acceptor.js';
import { holderIn } from './port-sharers.js';

/** How often it is looked whether a connection was accepted, at first and later, where nobody tells. */
const LOOK_MS = 1;
const MAX_LOOK_MS = 100;
const ASK_AFTER_MS = 8;
/** How long another slot may take to hear of the connections; one that is stopped accepts none. */
const OTHERS_MS = 500;
/** How long who has accepted a connection and answered or ended it may take to say so. */
const LAST_WORDS_MS = 50;
/** How often it is sent again where nobody says so. A worker thread never does. */
const MAX_SENT_AGAIN = 3;
/**
 * So often a generation is given its time anew that has accepted others meanwhile. Node accepts as few as one connection
 * in a turn of its loop, so behind a queue of clients a connection waits as they do.
 */
const MAX_TIMES_ANEW = 2;
const NEW = { acceptor: undefined, acceptors: undefined, answeredAtMs: undefined };
/** What a kernel says of an address that cannot be reached from this very machine, which proves nothing. */
const NO_WAY_THERE = [
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EADDRNOTAVAIL',
  'EACCES',
  'EPERM',
  'ETIMEDOUT',
  // A link-local address does not say by which link.
  'EINVAL',
];

/** Who may accept at a moment, and who lives. */
export interface Acceptance {
  /** Those that may accept in place of this one now, such as those of other slots, with it. */
  readonly acceptors: (generation: GenerationProcess) => readonly GenerationProcess[];
  /** All that live: any of them may come to accept while it is looked. */
  readonly living: () => readonly GenerationProcess[];
}

/** Where a listener is looked for. */
export interface Goal {
  readonly target: ProbeTarget;
  /** Its descriptor here: what it says of itself counts where no connection can come from this machine. */
  readonly descriptor: () => number | undefined;
}

interface Sent {
  readonly listener: string;
  readonly goal: Goal;
  connection: ProbeConnection;
  /** Who has accepted it, where that is not the service's first process, which tells. */
  acceptor: Acceptor | undefined;
  /** Those that could do so when it was sent; undefined where the service's first process does. */
  acceptors: readonly Acceptor[] | undefined;
  /** Whether one that may have accepted it, now or before, has gone on. */
  isOutlived: boolean;
  /** Since when it has been answered or ended by somebody who has not told. */
  answeredAtMs: number | undefined;
  /** How often it was sent again. */
  again: number;
}

/** For how long who accepts is waited for. */
interface Time {
  readonly untilMs: number;
  /** How many connections had been accepted when it began, by the listener. */
  readonly accepted: ReadonlyMap<string, number>;
  /** Whether it was asked how many those are by now. */
  isAsked: boolean;
}

/**
 * The connections of one look: each is announced to all who may accept it, goes on its way, and is followed until it is
 * known who has accepted it. Who may do so is asked anew at every step, for meanwhile other slots hand over, too.
 */
export class Probes {
  readonly #generation: GenerationProcess;
  readonly #parts: Acceptance;
  readonly #withinMs: number;
  /** All that could accept at some moment since it began. */
  readonly #allowed = new Set<GenerationProcess>();
  readonly #told = new Set<GenerationProcess>();
  readonly #seen = new Map<string, GenerationProcess>();
  /** Those of the generation that accept where its first process does not, by the listener, as it said last. */
  #acceptors: ReadonlyMap<string, readonly Acceptor[]> = new Map();
  #sent: Sent[] = [];
  /** How many connections the generation had accepted on a listener when it was asked last. */
  #accepted: ReadonlyMap<string, number> = new Map();
  #wake: () => void = () => {};
  /** What the generation said last of itself. */
  said: LookAnswer | undefined;
  /** How many could not be made: nothing is known of those listeners but what the generation says. */
  untried = 0;
  /** Fails when this look is given up. */
  readonly #goesOn: Promise<never>;
  #giveUp!: (why: MoultError) => void;
  #isGivenUp = false;

  /** @param withinMs how long the generation may take to accept, in milliseconds. */
  constructor(generation: GenerationProcess, parts: Acceptance, withinMs: number) {
    this.#generation = generation;
    this.#parts = parts;
    this.#withinMs = withinMs;
    this.#goesOn = new Promise((_, reject) => {
      this.#giveUp = reject;
    });
    this.#goesOn.catch(() => {});
    this.turned();
  }

  /** Who may accept has changed. */
  turned(): void {
    for (const one of this.#parts.acceptors(this.#generation)) this.#allowed.add(one);
    // One that has come since hears of the connections before it accepts.
    if (this.#told.size > 0) void Promise.all(this.#tellOthers());
  }

  /** Has what is under way fail with MOULT_NOT_REACHED: nothing is known. */
  giveUp(): void {
    this.#isGivenUp = true;
    this.#giveUp(givenUp());
    this.#wake();
  }

  /**
   * Makes them, and announces them.
   * @returns what the generation says of itself; nothing where it knows of no looks.
   * @throws MOULT_PEER_CLOSED, MOULT_PEER_TIMEOUT, MOULT_NOT_REACHED when it is given up
   */
  async announce(goals: ReadonlyMap<string, Goal>): Promise<LookAnswer | undefined> {
    for (const [listener, goal] of goals) {
      const connection = connectionTo(goal.target);
      if (connection === undefined) this.untried += 1;
      else this.#sent.push({ listener, goal, connection, ...NEW, again: 0, isOutlived: false });
    }
    return this.#announceAll();
  }

  /** Sends those to these listeners on their way. @returns what is wrong, once it is known of all of them who accepted. */
  async follow(isOpen: (listener: string) => boolean): Promise<string[]> {
    let timesLeft = MAX_TIMES_ANEW;
    let time = this.#time();
    const problems: string[] = [];
    let pending = this.#sent.filter(({ listener }) => isOpen(listener));
    for (const one of pending) this.#start(one);
    for (let waitMs = LOOK_MS; ; waitMs = Math.min(waitMs * 2, MAX_LOOK_MS)) {
      if (this.#isGivenUp) throw givenUp();
      const isOver = performance.now() > time.untilMs;
      // Not asked by then: this process stood still itself.
      const mayGoOn = () => !time.isAsked || pending.every((one) => this.#waitsItsTurn(one, time));
      const isLate = isOver && (timesLeft === 0 || !mayGoOn());
      if (isOver && !isLate) {
        timesLeft -= 1;
        time = this.#time();
      } else this.#askHalfway(time);
      const found = pending.map((one) => {
        if (isLate && this.#waitsItsTurn(one, time)) return 'well';
        return this.#judge(one, isLate, isLate || waitMs > ASK_AFTER_MS);
      });
      problems.push(...found.flatMap((how) => (how === undefined || how === 'well' ? [] : [how])));
      pending = pending.filter((_, i) => found[i] === undefined);
      if (pending.length === 0) return problems;
      await this.#sendLostAgain(pending);
      await this.#somethingSeen(waitMs);
    }
  }

  /** Ends all of them; nobody need know of them any more. */
  close(): void {
    for (const one of this.#told) one.lookIsOver();
    for (const { connection } of this.#sent) connection.close();
  }

  #start(one: Sent): void {
    one.acceptors = this.#acceptors.get(one.listener);
    one.connection.start();
  }

  async #announceAll(): Promise<LookAnswer | undefined> {
    const own = this.#looks(this.#generation) ? this.#tell(this.#generation, this.#withinMs) : undefined;
    // Any of them may accept one in the very moment in which it is sent.
    const others = Promise.all(this.#tellOthers(true));
    const said = await Promise.race([own, this.#goesOn]);
    await Promise.race([others, this.#goesOn]);
    return said;
  }

  // What another slot does is no affair of this one.
  #tellOthers(again = false): Promise<unknown>[] {
    const isMeant = (one: GenerationProcess) =>
      one !== this.#generation && this.#looks(one) && (again || !this.#told.has(one));
    return this.#parts
      .living()
      .filter(isMeant)
      .map((one) => this.#tell(one, OTHERS_MS).catch(() => {}));
  }

  #looks(one: GenerationProcess): boolean {
    return one.looks && one.isReachable;
  }

  #tell(one: GenerationProcess, withinMs: number): Promise<LookAnswer> {
    this.#told.add(one);
    const probes = this.#sent.map(({ listener, connection }) => ({ listener, from: connection.from }));
    const seen = (listener: string) => {
      this.turned();
      this.#seen.set(listener, one);
      this.#wake();
    };
    const said = one.look(probes, seen, withinMs);
    if (one !== this.#generation) return said;
    return said.then((told) => {
      this.said = told;
      this.#accepted = new Map(told.accepted?.map(({ name, connections }) => [name, connections]));
      const acceptors = told.processes?.map(
        ({ name, pids }) => [name, pids.map((pid) => new Acceptor(pid))] as const,
      );
      this.#acceptors = new Map(acceptors);
      return told;
    });
  }

  /** @returns what is wrong; undefined while it is not known. */
  #time(): Time {
    return { untilMs: performance.now() + this.#withinMs, accepted: this.#accepted, isAsked: false };
  }

  // In the middle, so that the answer of one that lives is there in time, and one that hangs is not waited for longer.
  #askHalfway(time: Time): void {
    const leftMs = time.untilMs - performance.now();
    if (time.isAsked || leftMs > this.#withinMs / 2) return;
    time.isAsked = true;
    if (!this.#looks(this.#generation)) return;
    this.#tell(this.#generation, Math.max(1, leftMs)).catch(() => {});
  }

  /** Whether nobody has accepted it, and others were accepted meanwhile. */
  #waitsItsTurn({ listener, connection }: Sent, { accepted }: Time): boolean {
    const now = this.#accepted.get(listener) ?? 0;
    if (this.#seen.has(listener) || now <= (accepted.get(listener) ?? 0)) return false;
    const state = connection.look();
    if (state !== 'connected') return state === 'pending';
    return (inodeOf(connection) ?? 0) === 0 && !connection.isAnswered();
  }

  #judge(one: Sent, isLate: boolean, mayAsk: boolean): string | undefined | 'well' {
    const { listener, goal, connection } = one;
    const by = this.#seen.get(listener);
    if (by !== undefined) return this.#allowed.has(by) ? 'well' : acceptedBy(listener, by);
    const state = connection.look();
    if (typeof state === 'object') {
      if (NO_WAY_THERE.includes(state.failed) || isKeptOff(goal, state.failed)) return 'well';
      return `a connection to ${listener} failed with ${state.failed}`;
    }
    // A worker thread does not tell, nor does another process of the tree; and it costs more to ask the kernel.
    const how = state === 'connected' && mayAsk ? this.#ofKernel(one, isLate) : undefined;
    if (how !== undefined || !isLate) return how;
    if (state === 'pending' && isDropped(goal)) return 'well';
    return `nobody accepted a connection to ${listener} within ${this.#withinMs} ms`;
  }

  #ofKernel(one: Sent, isLate: boolean): string | undefined | 'well' {
    const { listener, connection, acceptor } = one;
    const isOutlived = acceptor?.hasOutlived(connection);
    if (isOutlived === true) return 'well';
    if (acceptor !== undefined && isOutlived === undefined) return isLate ? 'well' : undefined;
    const inode = inodeOf(connection);
    if (inode !== undefined && inode > 0) return this.#heldBy(one, inode, isLate);
    if (!connection.isAnswered()) return undefined;
    if (one.answeredAtMs === undefined) {
      one.answeredAtMs = performance.now();
      if (acceptor === undefined) one.isOutlived ||= one.acceptors?.some(({ runs }) => runs) !== false;
    }
    if (one.again < MAX_SENT_AGAIN) return undefined;
    return one.isOutlived ? 'well' : `each connection to ${listener} ends the process that accepts it`;
  }

  #heldBy(one: Sent, inode: number, isLate: boolean): string | undefined | 'well' {
    const { listener, connection } = one;
    this.turned();
    const allowed = [...this.#allowed].map((generation) => holderIn(generation, inode));
    const pid = allowed.find((holder) => typeof holder === 'number');
    if (pid !== undefined) {
      if ([...this.#allowed].some(({ servicePid }) => servicePid === pid)) return 'well';
      one.acceptor = new Acceptor(pid);
      connection.finish();
      return undefined;
    }
    // It may be on its way from one process to another.
    if (!isLate) return undefined;
    const other = this.#parts.living().find((one) => typeof holderIn(one, inode) === 'number');
    if (other !== undefined) return acceptedBy(listener, other);
    const stranger = holderOf(inode);
    // What may not be looked into may have it.
    if (stranger === undefined && allowed.includes(undefined)) return 'well';
    const who = stranger === undefined ? 'another process' : `process ${stranger.pid} (${stranger.name})`;
    return `a connection to ${listener} was accepted by ${who}`;
  }

  // Who had accepted it has ended, or was undone, before it could tell.
  async #sendLostAgain(pending: readonly Sent[]): Promise<void> {
    const isLost = ({ answeredAtMs = Number.POSITIVE_INFINITY }: Sent) =>
      performance.now() - answeredAtMs > LAST_WORDS_MS;
    const lost = pending.filter(isLost);
    if (lost.length === 0) return;
    for (const one of lost) {
      const connection = connectionTo(one.goal.target);
      if (connection === undefined) continue;
      one.connection.close();
      Object.assign(one, { ...NEW, connection, again: one.again + 1 });
    }
    await this.#announceAll();
    for (const one of lost) this.#start(one);
  }

  async #somethingSeen(waitMs: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      timer = setTimeout(resolve, waitMs);
    });
    clearTimeout(timer);
  }
}

function givenUp(): MoultError {
  return new MoultError('MOULT_NOT_REACHED', 'the check was replaced by a newer one');
}

function acceptedBy(listener: string, { number, servicePid }: GenerationProcess): string {
  return `a connection to ${listener} was accepted by generation ${number} (process ${servicePid}), which no longer serves`;
}

// Who listens, and is refused in the name of, is not found from here: a rule of a firewall, or another device, is in between.
function isKeptOff({ target, descriptor }: Goal, failure: string): boolean {
  const fd = descriptor();
  if (failure !== 'ECONNREFUSED' || 'path' in target || fd === undefined) return false;
  return socketIdentity(fd)?.isListening === true;
}

// A listener drops what comes only while its queue is full.
function isDropped({ target, descriptor }: Goal): boolean {
  const fd = descriptor();
  return !('path' in target) && fd !== undefined && hasRoom(fd) === true;
}

// What this process lacks itself proves nothing of the service, which tells what it has, as the kernel does.
function connectionTo(target: ProbeTarget): ProbeConnection | undefined {
  try {
    return ProbeConnection.to(target);
  } catch (error) {
    if (error instanceof MoultError) return undefined;
    throw error;
  }
}

// Where the kernel does not tell, who accepts is not known.
function inodeOf(connection: ProbeConnection): number | undefined {
  try {
    return connection.acceptedAs();
  } catch (error) {
    if (error instanceof MoultError) return undefined;
    throw error;
  }
}
