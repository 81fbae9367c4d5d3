import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:http';
import { describe, it, mock } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { MoultError } from '#moult/errors.js';
import type { GenerationContext } from '#moult/handover/generation-context.js';
import type { Predecessor } from '#moult/handover/predecessor.js';
import type { Successor } from '#moult/handover/successor.js';
import { epochAfter } from '#moult/os/clock.js';
import { ProcessHandle } from '#moult/os/unix-sockets/peer.js';
import type { Message } from '#moult/protocol/messages.js';
import { MapEntry } from '#moult/state/map-entry.js';
import { StateEntries } from '#moult/state/state-entries.js';
import { StateMap } from '#moult/state/state-map.js';
import { ValueEntry } from '#moult/state/value-entry.js';
import type { Runner } from '#moult/tasks/runners/runner.js';
import { Tasks } from '#moult/tasks/tasks.js';
import { End } from '../support/end.js';
import fc from '../support/fast-check.js';
import { askedOfThread, inThread } from '../support/in-thread.js';
import { modelRuns } from '../support/model-runs.js';
import { sequenceOf } from '../support/sequence.js';
import { bothEnds, ModelListener, settings, surroundings } from './surroundings.js';

/*
 * The real Predecessor and Successor of several generations in one process, over channels that deliver a
 * message only when they are told to, with a clock that moves only when it is told to. The test asks the
 * listeners who accepts, the tasks who has them, and the maps what is in them; it does not believe the state machine.
 */

/** Of each kind of sequence; MODEL_RUNS makes it more. */
const RUNS = modelRuns('MODEL_RUNS', 120);

/** A task that only notes who has it. Its end takes a while, as that of real ones does. */
class FakeRunner implements Runner {
  readonly name: string;
  readonly overlaps: boolean;
  readonly endWithinMs = undefined;
  passOn: undefined;
  isHere = false;
  /** From its begin on, until it is told to end: it takes no more from its broker then. */
  takes = false;
  readonly #life: Life;

  constructor(name: string, overlaps: boolean, life: Life) {
    this.name = name;
    this.overlaps = overlaps;
    this.#life = life;
  }

  prepare(): void {}

  begin(epoch: number): void {
    // One that was killed is still in this process.
    if (!this.#life.isAlive) return;
    // What is thrown here is dealt with, as when a broker is away.
    if (this.isHere) wrong.push(`${this.name} begins twice in one generation`);
    this.isHere = true;
    this.takes = true;
    const newest = newestEpoch.get(this.name) ?? 0;
    if (epoch <= newest) wrong.push(`${this.name} begins in the epoch ${epoch}, after one of ${newest}`);
    newestEpoch.set(this.name, epoch);
  }

  receive(): void {}

  async end(): Promise<void> {
    this.takes = false;
    await (this.overlaps ? turns() : Promise.resolve());
    this.isHere = false;
  }

  finish(): void {}
  close(): void {}
}

/** Of each task, the epoch in which it was begun last. */
const newestEpoch = new Map<string, number>();
/** What tasks found that must not be. */
const wrong: string[] = [];
const byPid = new Map<number, Life>();
let isClosedEverywhere = false;

/** One generation: both ends of its handovers, as service/generation.ts ties them together. */
class Life {
  readonly number: number;
  readonly pid: number;
  readonly listener: ModelListener;
  readonly context: GenerationContext;
  readonly predecessor: Predecessor;
  readonly successor: Successor;
  /** To the supervisor; the far end is the test's. */
  readonly lifeline: [End, End];
  isAlive = true;
  isReady = false;
  /** Of its asking for state: whether it has asked, and whether all is there. */
  asked: 'not' | 'waits' | 'has it' = 'not';
  readonly one = new FakeRunner('one', false, this);
  readonly many = new FakeRunner('many', true, this);
  readonly map = new StateMap<number, number>();
  /** The last that was written; to restore it takes a while. */
  last = 0;
  /** To the generation before, while it hands over. */
  giver: [End, End] | undefined;
  /** The generation from which it takes over. */
  source: Life | undefined;

  constructor(number: number, server: Server) {
    this.number = number;
    // No process can have such a number.
    this.pid = 2 ** 30 + number;
    byPid.set(this.pid, this);
    this.listener = new ModelListener(server, () => {
      isClosedEverywhere = true;
    });
    const state = new StateEntries((pid) => new ProcessHandle(pid));
    state.declare(new MapEntry('map', this.map, {}));
    const restore = async (value: number) => {
      await turns();
      this.last = value;
    };
    state.declare(new ValueEntry('last', { save: () => this.last, restore }));
    const failed = (error: MoultError) => wrong.push(String(error.stack));
    const tasks = new Tasks(undefined, { failed, idle: () => this.predecessor.feedEnded() });
    tasks.declare(this.one);
    tasks.declare(this.many);
    this.context = surroundings({
      listeners: this.listener.registry,
      state,
      tasks,
      epoch: number,
      isBeingFed: () => this.successor.isBeingFed || this.predecessor.isBeingFed,
    });
    const ends = bothEnds(this.context, this.pid, {
      stage: (stage) => {
        reached.add(stage);
      },
      aborted: () => {
        reached.add('aborted');
      },
      undone: (_error, isAlive) => {
        reached.add(isAlive ? 'handed back' : 'undone');
      },
      takenBack: () => {
        reached.add('taken back');
      },
      servesOn: () => {
        reached.add('served on');
      },
      drained: () => {
        reached.add('drained');
        this.dies();
      },
    });
    this.predecessor = ends.predecessor;
    this.successor = ends.successor;
    this.lifeline = ends.lifeline;
  }

  get accepts(): boolean {
    return this.isAlive && this.listener.state === 'open';
  }

  /** It is killed, with all that it has. */
  isKilled(): void {
    if (this.isAlive) isAllKept = false;
    this.dies();
  }

  dies(): void {
    this.isAlive = false;
    this.lifeline[0].close();
    this.giver?.[0].close();
    for (const life of byPid.values()) if (life.source === this) life.giver?.[1].close();
  }
}

/** What handovers came to in this sequence. */
const reached = new Set<string>();

/** What was written so far, to whoever accepted; and whether all of it must still be there. */
let written = 0;
let isAllKept = true;
/** Whether no process has ended but at its own time: what overlaps is taken all the time. */
let isUnhurt = true;
/** Whose predecessor was killed in an undo. */
const mustServe = new Set<Life>();

type Command =
  | 'ask'
  | 'ask only'
  | 'write'
  | 'restart'
  | 'start'
  | 'ready'
  | 'turns'
  | 'to predecessor'
  | 'to successor'
  | 'successor dies'
  | 'predecessor dies'
  | 'channel breaks'
  | 'undo'
  | 'confirm'
  | 'second'
  | 'six seconds';

const commands: readonly Command[] = [
  'ask',
  'ask only',
  'write',
  'restart',
  'start',
  'ready',
  'turns',
  'to predecessor',
  'to successor',
  'successor dies',
  'predecessor dies',
  'channel breaks',
  'undo',
  'confirm',
  'second',
  'six seconds',
];

/** After these a side may be gone: killed, or too late. */
const hurts: ReadonlySet<Command> = new Set([
  'successor dies',
  'predecessor dies',
  'channel breaks',
  'second',
  'six seconds',
]);

/** The supervisor, as far as it takes part: it starts generations, and gives the commit where no predecessor lives. */
class World {
  readonly server = createServer();
  current: Life;
  next: Life | undefined;
  /** The current one's ends towards successors that are gone. */
  former: End[] = [];
  #count = 1;

  constructor() {
    this.current = new Life(1, this.server);
    this.current.listener.state = 'open';
    this.current.successor.serveAtOnce();
  }

  async do(command: Command): Promise<void> {
    const { current, next } = this;
    if (hurts.has(command)) isUnhurt = false;
    switch (command) {
      case 'ask':
      case 'ask only':
        this.#ask();
        for (let i = 0; command === 'ask' && i < 20 && next?.asked === 'waits'; i += 1) {
          while (next.giver?.some((end) => end.deliver()));
          await turn();
        }
        return;
      case 'write': {
        const accepting = this.lives.find(({ accepts }) => accepts);
        if (accepting === undefined) return;
        written += 1;
        accepting.map.set(written, written);
        accepting.last = written;
        if (written > 3) accepting.map.delete(written - 3);
        return;
      }
      case 'restart':
        if (next !== undefined || !current.isAlive || current.predecessor.state !== 'serving') return;
        this.#count += 1;
        current.predecessor.expect(this.#count, settings);
        return;
      case 'start':
        if (next !== undefined || !current.isAlive || current.predecessor.state !== 'expecting') return;
        this.#start();
        return;
      case 'ready':
        if (next?.isAlive && !next.isReady && next.asked === 'has it') {
          next.isReady = true;
          next.successor.ready(false, []);
          if (!current.isAlive) this.#commitSelf(next);
        }
        return;
      case 'turns':
        await turns();
        return;
      case 'to predecessor':
        for (const end of this.former) end.deliver();
        next?.giver?.[1].deliver();
        return;
      case 'to successor':
        next?.giver?.[0].deliver();
        return;
      case 'successor dies':
        next?.isKilled();
        return;
      case 'predecessor dies':
        if (next === undefined || !current.isAlive) return;
        if (current.predecessor.state === 'undoing' && next.isAlive && next.giver?.[1].isClosed === false) {
          // It has all that was written, and nobody else will.
          mustServe.add(next);
          current.dies();
        } else current.isKilled();
        if (next.isReady) this.#commitSelf(next);
        return;
      case 'channel breaks':
        isAllKept = false;
        next?.giver?.[1].close(new MoultError('MOULT_PROTOCOL_FRAME', 'noise'));
        return;
      case 'undo':
        if (current.isAlive) current.predecessor.fail(new MoultError('MOULT_ROLLED_BACK', 'asked for'));
        return;
      case 'confirm':
        if (current.isAlive) current.predecessor.confirm();
        return;
      case 'second':
        mock.timers.tick(1000);
        return;
      case 'six seconds':
        mock.timers.tick(6000);
    }
  }

  /** What the supervisor does when it sees how things are: processes that failed are ended, and the next turn begins. */
  tidy(): void {
    const { current, next } = this;
    if (next === undefined) return;
    const { state } = current.predecessor;
    if (current.isAlive && state === 'serving') {
      // Aborted, or undone: before commit the supervisor ends the successor, after it, it ends by itself.
      if (!next.successor.isCommitted) next.dies();
      if (!next.isAlive) this.#forget(next);
    } else if (!current.isAlive && next.successor.isCommitted) {
      this.current = next;
      this.next = undefined;
    } else if (!current.isAlive && !next.isAlive) this.#forget(next);
  }

  // What it had sent before it ended still arrives.
  #forget(next: Life): void {
    this.next = undefined;
    if (next.giver !== undefined) this.former.push(next.giver[1]);
  }

  /** Whether the one that would serve was killed while the other handed back: a new one is started, which is not in this model. */
  get needsAnother(): boolean {
    const { state } = this.current.predecessor;
    return this.next === undefined && (state === 'draining' || state === 'ended');
  }

  get lives(): Life[] {
    return this.next === undefined ? [this.current] : [this.current, this.next];
  }

  #start(): void {
    const next = new Life(this.#count, this.server);
    const [near, far] = End.pair(next.pid, this.current.pid);
    next.giver = [near, far];
    next.source = this.current;
    this.next = next;
    next.successor.inheritFrom(near.channel, { keeps: true, broadcasts: true });
    // What the opening takes synchronously.
    near.on('inherit', () => near.off('inherit'));
    const hello = { type: 'hello', generation: next.number } as unknown as Message<'hello'>;
    this.current.predecessor.receive(far.channel, hello);
    near.deliver();
  }

  #ask(): void {
    const { next } = this;
    if (next === undefined || !next.isAlive || next.asked !== 'not' || next.isReady) return;
    next.asked = 'waits';
    next.successor.takeState().then(
      () => {
        next.asked = 'has it';
      },
      () => {},
    );
  }

  #commitSelf(next: Life): void {
    next.lifeline[1].on('ready', () => {}).on('committed', () => {});
    while (next.lifeline[1].deliver());
    // Later than all, as by the clock: it need not have heard of them.
    const epoch = epochAfter(Math.max(...[...byPid.values()].map((life) => life.context.epoch)));
    next.lifeline[1].send({ type: 'commit', epoch } as never);
    next.lifeline[0].deliver();
  }
}

async function turns(): Promise<void> {
  for (let i = 0; i < 3; i += 1) await turn();
}

async function microtasks(): Promise<void> {
  for (let i = 0; i < 20; i += 1) await Promise.resolve();
}

async function play(sequence: readonly Command[]): Promise<void> {
  End.unexpected = (what) => wrong.push(what);
  // What still ends of the sequence before does not begin in this one.
  for (const life of byPid.values()) life.isAlive = false;
  byPid.clear();
  newestEpoch.clear();
  wrong.length = 0;
  reached.clear();
  isClosedEverywhere = false;
  written = 0;
  isAllKept = true;
  isUnhurt = true;
  mustServe.clear();
  const world = new World();
  await microtasks();
  for (const command of sequence) {
    await world.do(command);
    check(world, command);
    await microtasks();
    world.tidy();
    await microtasks();
    check(world, command);
    checkLoss(world, command);
  }
  // Left to itself, everything comes to rest with one generation accepting, if any lives that can.
  isUnhurt = false;
  for (let round = 0; round < 15; round += 1) {
    while (world.former.some((end) => end.deliver()));
    for (const life of world.lives) while (life.giver?.some((end) => end.deliver()));
    await turns();
    mock.timers.tick(1000);
    await microtasks();
    world.tidy();
    check(world, 'the rest');
  }
  const living = world.lives.filter(({ isAlive }) => isAlive);
  const accepting = living.filter(({ accepts }) => accepts);
  const leaving = living.filter(({ predecessor }) => ['returning', 'draining'].includes(predecessor.state));
  assert.deepEqual(
    leaving.map(({ number }) => number),
    [],
    'at rest these have not come to their end',
  );
  if ([...mustServe].some(({ isAlive }) => isAlive))
    assert.equal(world.needsAnother, false, 'whose predecessor was killed serves on');
  if (world.needsAnother || !living.some(({ successor }) => successor.isCommitted)) return;
  assert.equal(accepting.length, 1, 'at rest');
  const [one] = accepting;
  assert.equal(one?.one.isHere, true, 'who accepts has the task');
  assert.equal(one?.many.isHere, true, 'who accepts has the task that overlaps');
  if (!isAllKept) return;
  const kept = [written - 2, written - 1, written].filter((key) => key > 0);
  assert.deepEqual([...(one?.map.keys() ?? [])].sort(), kept.sort(), 'what was written is there');
  assert.equal(one?.last, written, 'so is what takes a while to restore');
}

function check({ lives, current, needsAnother }: World, after: string): void {
  assert.deepEqual(wrong, [], `after ${after}`);
  const accepting = lives.filter(({ accepts }) => accepts);
  assert.ok(accepting.length <= 1, `after ${after} both accept`);
  const owners = [...byPid.values()].filter(({ isAlive, one }) => isAlive && one.isHere);
  assert.ok(owners.length <= 1, `after ${after} ${owners.map(({ number }) => number)} have the task`);
  const takers = [...byPid.values()].filter(({ isAlive, many }) => isAlive && many.takes);
  assert.ok(!isUnhurt || takers.length > 0, `after ${after} nobody has the task that overlaps`);
  assert.equal(isClosedEverywhere, false, `after ${after} a listener is closed for good`);
  const { state } = current.predecessor;
  const isBetween = ['committing', 'undoing', 'returning'].includes(state);
  for (const { accepts, predecessor, number } of lives) {
    const gives = ['committing', 'undoing', 'returning', 'draining', 'ended'].includes(predecessor.state);
    assert.ok(!accepts || !gives, `after ${after} ${number} accepts while it is ${predecessor.state}`);
  }
  if (!needsAnother && lives.every(({ isAlive }) => isAlive) && !isBetween)
    assert.equal(accepting.length, 1, `after ${after} nobody accepts while the predecessor is ${state}`);
}

/** Whatever both sides have to say to each other in one stage, message by message. */
const talk: readonly Command[] = Array.from({ length: 4 }, () => [
  ...(['to predecessor', 'to predecessor', 'to successor', 'to successor', 'turns'] as const),
]).flat();
const handover: readonly Command[] = ['restart', 'start', 'write', 'ask', 'write', 'ready', ...talk];
/** Sequences that come far; in the tests something comes in between. */
const far: readonly (readonly Command[])[] = [
  [...handover, 'write', 'undo', ...talk, 'write', ...handover],
  [...handover, 'write', 'confirm', ...talk, 'write', ...handover, 'undo', ...talk],
];

/** Sequences with what comes in between: each was wrong once. */
const found: readonly (readonly [readonly Command[], readonly (readonly [number, Command])[]])[] = [
  [
    far[1] ?? [],
    [
      [83, 'predecessor dies'],
      [17, 'six seconds'],
    ],
  ],
];

/** Whoever sees that the one it has just handed over to is gone serves again. */
function checkLoss({ lives: [current, heir] }: World, after: string): void {
  if (current?.isAlive !== true || heir?.isAlive !== false || heir.giver?.[1].isClosed !== true) return;
  const { state } = current.predecessor;
  assert.ok(!['committing', 'probation'].includes(state), `after ${after} it is still ${state}`);
}

/** What the tests play, by their names. */
const plays: Readonly<Record<string, () => Promise<void>>> = {
  'come as far as the sequences below need': async () => {
    for (const [i, sequence] of far.entries()) {
      await play(sequence);
      const stages = ['inherit', 'ready', 'commit', 'confirm', 'handed back', 'drained'];
      assert.deepEqual(
        stages.filter((stage) => !reached.has(stage)),
        [],
        `sequence ${i} reached ${[...reached]}`,
      );
    }
  },

  'never both accept, never close a listener, and end with one that accepts': () =>
    fc.assert(fc.asyncProperty(sequenceOf(fc.constantFrom(...commands), { maxLength: 50 }), play), {
      ...RUNS,
      includeErrorInReport: true,
    }),

  'nor do they where one thing comes in between, whatever it is and wherever': async () => {
    for (const sequence of far) {
      for (let at = 0; at <= sequence.length; at += 1) {
        for (const command of commands) {
          const mixed = sequence.toSpliced(at, 0, command);
          await play(mixed).catch((cause: Error) => {
            throw new Error(`${command} before step ${at} of ${sequence}: ${cause.message}`, { cause });
          });
        }
      }
    }
  },

  'nor do they in those that were found': async () => {
    for (const [sequence, extras] of found) await play(mixedWith(sequence, extras));
  },

  'nor do they where a handover has come far, and is undone': () => playMixed(far[0] ?? []),
  'nor do they where a handover has come far, and is confirmed': () => playMixed(far[1] ?? []),
};

function mixedWith(sequence: readonly Command[], extras: readonly (readonly [number, Command])[]): Command[] {
  const mixed = [...sequence];
  for (const [at, command] of extras) mixed.splice(at, 0, command);
  return mixed;
}

async function playMixed(sequence: readonly Command[]): Promise<void> {
  const extra = fc.tuple(fc.nat(sequence.length), fc.constantFrom(...commands));
  await fc.assert(
    fc.asyncProperty(fc.array(extra, { maxLength: 8 }), (extras) => play(mixedWith(sequence, extras))),
    { ...RUNS, includeErrorInReport: true },
  );
}

const asked = askedOfThread();
const playedHere = asked === undefined ? undefined : plays[asked];
if (playedHere === undefined) {
  describe('the two ends of a handover, in any order of events', () => {
    for (const name of Object.keys(plays)) it(name, () => inThread(import.meta.url, name));
  });
} else {
  ProcessHandle.prototype.kill = function (this: ProcessHandle) {
    byPid.get(this.pid)?.isKilled();
    return true;
  };
  ProcessHandle.prototype.hasEnded = function (this: ProcessHandle) {
    return byPid.get(this.pid)?.isAlive !== true;
  };
  mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'setImmediate'] });
  await playedHere();
  mock.timers.reset();
}
