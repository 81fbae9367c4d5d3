import assert from 'node:assert/strict';
import { describe, it, mock } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import type { Channel } from '#moult/channel/channel.js';
import type { ServiceState } from '#moult/lifecycle/service-events.js';
import type { Settings } from '#moult/protocol/messages.js';
import { defaultOptions, type SupervisorOptions } from '#moult/supervisor/options.js';
import { GenerationNumbers } from '#moult/supervisor/process/generation-numbers.js';
import type { Release } from '#moult/supervisor/releases/release.js';
import { Shutdown } from '#moult/supervisor/serving/shutdown.js';
import { Slot, type SlotSurroundings } from '#moult/supervisor/slots/slot.js';
import { type Giver, IncomingTakeover } from '#moult/supervisor/takeover/incoming-takeover.js';
import { End } from '../../support/end.js';
import fc from '../../support/fast-check.js';
import { askedOfThread, inThread } from '../../support/in-thread.js';
import { modelRuns } from '../../support/model-runs.js';
import { sequenceOf } from '../../support/sequence.js';
import { SimulatedGeneration, SimulatedService } from './simulated-generation.js';

/*
 * A real slot of a supervisor, with all that decides in it, over simulated services: their messages arrive, their ends are
 * heard of, and the clock moves only when the model says so. Its supervisor may be killed, and the next one adopts them;
 * another supervisor may take over. The model asks the services who accepts; it does not believe the state machine.
 */

/** Of each kind of sequence; SLOT_RUNS makes it more. */
const RUNS = modelRuns('SLOT_RUNS', 75);
const options: SupervisorOptions = {
  ...defaultOptions,
  readyTimeoutMs: 3000,
  drainTimeoutMs: 2000,
  probationMs: 4000,
  stopTimeoutMs: 1000,
  busyTimeoutMs: 1000,
};
const release: Release = {
  command: 'service',
  args: [],
  cwd: '/',
  env: {},
  isDirect: true,
  label: 'service',
};

const commands = [
  'restart',
  'starts fail',
  'roll back',
  'take over',
  'other goes on',
  'other ends',
  'supervisor dies',
  'come back',
  'stop',
  'connect',
  'ready',
  'tell',
  'hear',
  'tell all',
  'hear all',
  'newest hears',
  'go on',
  'successor goes on',
  'notice',
  'elapse',
  'reap',
  'kill the current',
  'kill the newest',
  'kill the oldest',
  'kill the predecessor',
  'leave by itself',
  'leave listeners',
  'moment',
  'second',
  'six seconds',
] as const;
type Command = (typeof commands)[number];

/** What sequences came to. */
const reached = new Set<ServiceState>();

/** Another supervisor, which takes over. */
class OtherSupervisor {
  readonly near: End;
  readonly far: End;
  successor: SimulatedService | undefined;
  /** From which it takes over. */
  from: SimulatedService | undefined;
  #isGone = false;

  constructor(services: () => readonly SimulatedService[], settings: Settings) {
    [this.near, this.far] = End.pair(2 ** 30 + 1000, 2 ** 30 + 1001);
    this.far.on('progress', (message) => {
      if ((message as { stage: string }).stage === 'verify') this.far.send({ type: 'confirm' } as never);
    });
    this.far.on('aborted', () => this.successor?.ends({ code: null, signal: 'SIGKILL' }));
    for (const type of ['inherit', 'undone', 'release', 'state', 'refused']) this.far.on(type, () => {});
    this.far.on('gone', () => {
      this.#isGone = true;
    });
    this.far.on('offer', (message) => {
      const { lastNumber, generation } = message as { lastNumber: number; generation: number };
      this.from = services().find(({ number }) => number === generation);
      this.far.send({ type: 'expect', generation: lastNumber + 1, settings } as never);
    });
    this.far.on('expecting', (message) => {
      const { generation, error } = message as { generation: number; error?: unknown };
      if (error !== undefined) return;
      this.successor = new SimulatedService(generation);
      const { from } = this;
      if (from?.expected !== generation) return;
      this.successor.predecessor = from;
      from.successor = this.successor;
    });
    this.far.send({ type: 'take-over', sharesFolder: false } as never);
  }

  goesOn(): void {
    const { successor } = this;
    while (successor?.ours.deliver());
    if (successor?.isAlive !== true) return;
    if (!successor.isReady) successor.ready();
    else if (successor.accepts) this.far.send({ type: 'serving', epoch: 3, said: false } as never);
    // Its supervisor gives the commit where the predecessor is gone.
    else if (this.#isGone) successor.begins();
    else successor.goOn();
  }

  ends(): void {
    this.successor?.ends({ code: null, signal: 'SIGKILL' });
    this.far.close();
  }
}

type Surroundings = Pick<SlotSurroundings, 'held' | 'folder' | 'log' | 'check'>;

class World {
  slot!: Slot;
  shutdown!: Shutdown;
  generations: SimulatedGeneration[] = [];
  readonly wrong: string[] = [];
  readonly restarts: Promise<unknown>[] = [];
  other: OtherSupervisor | undefined;
  /** The generation of another supervisor, from which this one takes over. */
  readonly foreign: SimulatedService | undefined;
  #incoming: IncomingTakeover | undefined;
  #asked = { unsettled: 0 };
  /** Of the supervisor that lives. */
  #around: unknown;
  /** How many of the next starts fail. */
  #toFail = 0;
  /** Of revivals that followed each other: how many, and when the last one was. */
  #revivals = { count: 0, lastMs: 0 };
  isOver = false;
  isStopped = false;

  /** @param arrives whether it takes over from another supervisor; else it starts its first generation. */
  constructor(arrives: boolean) {
    const surroundings = this.#open();
    if (!arrives) {
      this.slot.begin({ ...release });
      return;
    }
    this.foreign = new SimulatedService(1);
    this.foreign.servesAlready();
    const { slot, shutdown } = this;
    const { held, folder, log, check } = surroundings;
    const own = { held, shutdown, connectionRouter: {}, folder, log, check };
    const incoming = new IncomingTakeover({ ...slot, ...own } as unknown as ConstructorParameters<
      typeof IncomingTakeover
    >[0]);
    this.#incoming = incoming;
    const giver = { sharesFolder: false, control: '/nowhere/control', folder: '/nowhere' } as Giver;
    const offer = {
      channel: this.foreign.ours,
      ...{ generation: 1, lastNumber: 1, epoch: 1, saysReady: false, name: 'other', door: '/nowhere/g1' },
      inherited: { listeners: [], descriptors: [] },
    } as unknown as NonNullable<ReturnType<Giver['ask']>>;
    // As in a start that has failed.
    incoming.begin(giver, offer, { ...release }).catch(() => shutdown.finish(1));
  }

  /** A supervisor begins. */
  #open(): Surroundings {
    const note = (text: unknown) => {
      if (this.#around === around && String(text).includes('a bug in moult')) this.wrong.push(String(text));
    };
    const log = { debug: note, info: note, warn: note, error: note };
    const manager = {
      accepting: () => {},
      serving: () => {},
      tell: () => {},
      stopping: () => {},
      isReady: true,
      keepsListeners: false,
    };
    const held = {
      hadBefore: () => false,
      names: () => ['a'],
      namesOf: () => ['a'],
      handedOn: () => {},
      undo: () => {},
      keepOnly: () => [],
      describe: () => ({ items: [], descriptors: [] }),
      closeForGood: () => {},
      paths: undefined,
      size: 1,
    };
    const around = {
      index: undefined,
      folder: { path: '/', name: 'simulated', lock: undefined },
      settings: { renew: async () => ({ release: { ...release }, revert: () => {} }) },
      options,
      maker: (listen: Slot['listen']) => ({
        start: (number: number, what: Release, settings: Settings) => {
          if (this.#around !== around) throw new Error('this supervisor has ended');
          return this.#start(number, what, settings, listen);
        },
        adopt: () => assert.fail('what is adopted is made by the model'),
      }),
      numbers: new GenerationNumbers(),
      held,
      kept: { isOn: false, asItWas: async (one: Release) => one, learn: () => {} },
      look: { at: async () => ({ looked: 1, lookMs: 0 }), anew: async () => {}, whenIdle: async () => ({}) },
      unseen: {
        lookNow: async () => {},
        leftBehind: () => [],
        guard: () => {},
        assertNoneLeft: async () => {},
      },
      manager,
      journal: { write: () => {}, read: () => [] },
      log,
      connections: () => 0,
      check: async () => {},
      moved: () => {},
    };
    const { journal } = around;
    const own: Slot[] = [];
    const parts = { slots: () => own, held, manager, options, journal, log };
    this.#around = around;
    this.shutdown = new Shutdown(parts as unknown as ConstructorParameters<typeof Shutdown>[0]);
    this.slot = new Slot({ ...around, shutdown: this.shutdown } as unknown as SlotSurroundings);
    own.push(this.slot);
    this.shutdown.ended.then(() => {
      if (this.#around === around) this.isOver = true;
    });
    return around as unknown as Surroundings;
  }
  get state(): ServiceState {
    return this.slot.generations.machine.state;
  }

  /** Those that this supervisor speaks to. */
  get heard(): SimulatedService[] {
    const { foreign } = this;
    return [...(foreign === undefined ? [] : [foreign]), ...this.generations.map(({ service }) => service)];
  }

  get services(): SimulatedService[] {
    const theirs = this.other?.successor;
    return [...this.heard, ...(theirs === undefined ? [] : [theirs])];
  }

  get accepting(): SimulatedService[] {
    return this.services.filter(({ accepts }) => accepts);
  }

  /** Whether everything that was asked for has been answered. */
  get isSettled(): boolean {
    return this.#asked.unsettled === 0;
  }

  /** The supervisor is killed, and the next one adopts what lives. */
  #dies(): void {
    const left = this.generations.filter(({ service }) => service.isAlive);
    const { lastNumber, epoch } = this.slot.generations;
    for (const one of this.generations) one.isLost = true;
    for (const { service } of left) service.loses();
    // Nobody answers what was asked of it.
    this.#asked = { unsettled: 0 };
    this.#revivals = { count: 0, lastMs: 0 };
    this.isStopped = false;
    this.#toFail = 0;
    this.#open();
    const { slot } = this;
    slot.generations.countOn(lastNumber, epoch);
    this.generations = left.map((one) => this.#adopted(one));
    if (left.length === 0) slot.begin({ ...release });
    else slot.adoption.allBack(this.generations);
  }

  /** As the journal tells of it. */
  #adopted(before: SimulatedGeneration): SimulatedGeneration {
    const { slot } = this;
    const { service } = before;
    const what = { ...release };
    const one = new SimulatedGeneration(service, what, slot.generations.settings(false));
    one.isProved = before.isProved;
    if (one.isProved) slot.releases.proved(what);
    one.isAdopted = true;
    one.hadServed = before.hadServed || before.servingSince !== undefined;
    one.connects = () => {
      if (one.lifeline !== undefined || !service.isAlive) return;
      one.attach(one.channel);
      slot.listen(one, one.channel);
      const standing = service.comesBack();
      service.theirs.send({ type: 'door', path: `/g${one.number}`, looks: true } as never);
      // One that had not met a supervisor says hello for the first time.
      if (service.hasMet) slot.adoption.rejoin(one, standing);
      service.hasMet = true;
    };
    slot.generations.addForeign(one);
    slot.generations.machine.on('adopt');
    return one;
  }

  #start(number: number, what: Release, settings: Settings, listen: Slot['listen']): SimulatedGeneration {
    if (this.state === 'reviving') this.#revived();
    if (this.#toFail > 0) {
      this.#toFail -= 1;
      throw new Error('no process can be started');
    }
    const service = new SimulatedService(number);
    const generation = new SimulatedGeneration(service, what, settings);
    this.generations.push(generation);
    generation.connects = () => {
      service.hasMet = true;
      generation.attach(generation.channel);
      listen(generation, generation.channel);
      service.theirs.send({ type: 'door', path: `/g${number}`, looks: true } as never);
      const from = this.heard.find(({ expected }) => expected === number);
      if (from?.isAlive !== true) return;
      from.successor = service;
      service.predecessor = from;
    };
    return generation;
  }

  // The pause grows while none of them serves for long, from the second one on.
  #revived(): void {
    const { count, lastMs } = this.#revivals;
    const leastMs = count === 0 ? 0 : Math.min(30_000, 100 * 2 ** (count - 1));
    const afterMs = Date.now() - lastMs;
    if (count > 0 && afterMs < leastMs)
      this.wrong.push(`revived after ${afterMs} ms, for the ${count + 1}. time`);
    this.#revivals = { count: count + 1, lastMs: Date.now() };
  }

  /** Somebody has served for so long that the next crash is a first one. */
  #forgetRevivals(): void {
    const { current } = this.slot.generations;
    if (current?.servingSince !== undefined && Date.now() - current.servingSince >= 10_000)
      this.#revivals = { count: 0, lastMs: 0 };
  }

  /** The clock moves. */
  pass(ms: number): void {
    mock.timers.tick(ms);
    this.#forgetRevivals();
  }

  #ask(doing: () => Promise<unknown>): void {
    const asked = this.#asked;
    asked.unsettled += 1;
    doing()
      .catch(() => {})
      .finally(() => {
        asked.unsettled -= 1;
      });
  }

  do(command: Command): void {
    const { slot, shutdown, generations } = this;
    const living = generations.filter(({ service }) => service.isAlive);
    const heard = this.heard.filter(({ isAlive }) => isAlive);
    const newest = living.at(-1);
    const current = slot.generations.current as SimulatedGeneration | undefined;
    switch (command) {
      case 'restart':
        this.#ask(async () => {
          shutdown.assertNotBegun();
          slot.outgoingTakeover.assertNone();
          const how = { allowFewerListeners: false, untilConfirmed: false, whenQuiet: null } as const;
          await slot.restarts.restart({ ifBusy: 'wait', ...how }, () => {});
        });
        return;
      case 'starts fail':
        this.#toFail = 3;
        return;
      case 'roll back':
        this.#ask(() => slot.probation.takeBack());
        return;
      case 'take over':
        if (this.other !== undefined || current === undefined) return;
        this.other = new OtherSupervisor(() => this.services, slot.generations.settings(false));
        slot.outgoingTakeover.receive(this.other.near as unknown as Channel);
        return;
      case 'other goes on':
        while (this.other?.far.deliver());
        this.other?.goesOn();
        while (this.other?.near.deliver());
        return;
      case 'other ends':
        this.other?.ends();
        return;
      case 'supervisor dies':
        // What another supervisor takes over from it meanwhile is tried with real processes.
        if (this.other === undefined && this.foreign === undefined && !this.isOver) this.#dies();
        return;
      case 'come back':
        for (const one of living) if (one.isAdopted) one.connects();
        return;
      case 'stop':
        this.isStopped = true;
        this.#ask(async () => {
          const passed = slot.outgoingTakeover.finishBeforeStop() ?? this.#incoming?.giveBack();
          await (passed ?? shutdown.stop());
        });
        return;
      case 'connect':
        newest?.connects();
        return;
      case 'ready':
        if (newest?.lifeline !== undefined) newest.service.ready();
        return;
      case 'tell':
        for (const service of heard) service.ours.deliver();
        return;
      case 'hear':
        for (const service of heard) service.theirs.deliver();
        return;
      case 'tell all':
        for (const service of this.heard) while (service.ours.deliver());
        while (this.other?.near.deliver());
        return;
      case 'hear all':
        for (const service of this.heard) while (service.theirs.deliver());
        while (this.other?.far.deliver());
        return;
      case 'newest hears':
        while (newest?.service.theirs.deliver());
        return;
      case 'go on':
        for (const service of heard) service.goOn();
        return;
      case 'successor goes on':
        newest?.service.goOn();
        return;
      case 'notice':
        for (const service of heard) service.notices();
        return;
      case 'elapse':
        for (const service of heard) service.elapsed();
        return;
      case 'reap':
        for (const service of this.heard) service.hear();
        return;
      case 'kill the current':
        (current?.service ?? heard[0])?.ends({ code: null, signal: 'SIGKILL' });
        return;
      case 'kill the newest':
        newest?.service.ends({ code: null, signal: 'SIGKILL' });
        return;
      case 'kill the oldest':
        heard[0]?.ends({ code: 1, signal: null });
        return;
      case 'kill the predecessor':
        // The generation of another supervisor has none here.
        current?.service?.predecessor?.ends({ code: null, signal: 'SIGKILL' });
        return;
      case 'leave by itself':
        if (current?.isProved && current.isOurs) current.service.ends({ code: 0, signal: null });
        return;
      case 'leave listeners':
        if (current?.isOurs) current.service.leavesListeners();
        return;
      case 'moment':
        this.pass(100);
        return;
      case 'second':
        this.pass(1000);
        return;
      case 'six seconds':
        this.pass(6000);
    }
  }

  /** Everything goes on as it does when nobody interferes. */
  async rest(): Promise<void> {
    for (let round = 0; round < 60; round += 1) {
      for (const command of [
        'connect',
        'come back',
        'tell all',
        'hear all',
        'ready',
        'tell all',
        'other goes on',
        'notice',
        'go on',
        'tell all',
        'hear all',
        'reap',
      ] as const) {
        this.do(command);
        await turns();
      }
      for (const service of this.heard) if (round % 8 === 7) service.elapsed();
      this.pass(round % 3 === 2 ? 1500 : 50);
      await turns();
    }
  }
}

async function turns(): Promise<void> {
  for (let i = 0; i < 2; i += 1) await turn();
}

const served: readonly ServiceState[] = ['serving', 'replacing', 'probation', 'passing'];

function check(world: World, after: string): void {
  assert.deepEqual(world.wrong, [], `after ${after}`);
  reached.add(world.state);
  const { from, successor } = world.other ?? {};
  assert.ok(!(from?.accepts && successor?.accepts), `after ${after} both sides of a take-over accept`);
  const { current } = world.slot.generations;
  if (served.includes(world.state))
    assert.ok(current !== undefined, `after ${after} it is ${world.state}, by nobody`);
  if (['waiting', 'reviving', 'resuming', 'orphaned'].includes(world.state))
    assert.equal(current, undefined, `after ${after} it is ${world.state}`);
}

async function worldAfter(sequence: readonly Command[], arrives = false): Promise<World> {
  End.unexpected = (what) => world.wrong.push(what);
  const world = new World(arrives);
  await turns();
  for (const command of sequence) {
    world.do(command);
    await turns();
    check(world, command);
  }
  return world;
}

async function play(sequence: readonly Command[], arrives = false): Promise<void> {
  const world = await worldAfter(sequence, arrives);
  await world.rest();
  check(world, 'the rest');
  const who = world.accepting.map(({ number }) => number);
  const what = `it is ${world.state}, and these accept: ${who}`;
  assert.ok(world.isSettled, `each restart, rollback and stop is answered; ${what}`);
  const theirs = world.other?.successor;
  if (world.isOver) {
    assert.equal(world.state, 'stopped');
    const left = world.generations.filter(({ service }) => service.isAlive).map(({ number }) => number);
    assert.deepEqual(left, [], 'nothing of a service that has ended is left');
    assert.ok(who.length <= 1, what);
    return;
  }
  assert.equal(world.isStopped, false, `a stop ends; ${what}`);
  assert.deepEqual(who.length, 1, what);
  if (theirs?.accepts) assert.equal(world.state, 'leaving', what);
  else {
    assert.equal(world.state, 'serving', what);
    assert.equal(world.slot.generations.current?.number, who[0], what);
  }
}

/** Commands in words. */
function steps(words: string): Command[] {
  const all = words.split(', ');
  for (const one of all) assert.ok((commands as readonly string[]).includes(one), one);
  return all as Command[];
}

const begin = steps('connect, tell all, ready, tell all, hear all, tell all');
/** Up to the probation, in which connections move. */
const moves = steps(
  'hear all, tell all, connect, tell all, go on, ready, tell all, go on, go on, go on, tell all',
);
const takesOver: readonly Command[] = [...moves, 'go on', 'tell all'];
const handover: readonly Command[] = ['restart', ...takesOver];
const confirmed = steps('elapse, tell all, hear all, tell all');
/** A restart in a probation, of which the predecessor has not heard. */
const another = steps('hear all, restart, hear all, tell all');
/** The same with another supervisor. */
const otherComes = steps(
  'hear all, take over, other goes on, other goes on, newest hears, tell all, other goes on, other goes on',
);
const otherTalk = steps('other goes on, hear all, tell all');

/** Each of these was wrong once. */
const found: Readonly<Record<string, readonly Command[]>> = {
  'the one that serves ends when its predecessor was told, and has not heard, that it is confirmed': [
    ...[...begin, ...handover, ...another],
    ...steps('kill the current, notice, reap, go on, tell all'),
  ],
  'the same, and its successor is ready': [
    ...[...begin, ...handover, ...another],
    ...steps(
      'connect, tell, ready, tell, kill the current, notice, reap, go on, tell all, hear all, tell all',
    ),
  ],
  'the same, and another supervisor takes over': [
    ...[...begin, ...handover, ...otherComes],
    ...steps('kill the current, notice, reap, go on, tell all, other goes on'),
  ],
  'the same, and its predecessor says that it serves before its end is heard of': [
    ...[...begin, ...handover, ...otherComes],
    ...steps('kill the current, notice, go on, tell all, reap, tell all, other goes on, other goes on'),
  ],
  'a process of the one that serves leaves listeners while another supervisor takes over': [
    ...([...begin, 'take over', ...otherTalk, ...otherTalk, ...otherTalk] as const),
    ...steps('leave listeners, tell all, other goes on, other goes on, other goes on'),
  ],
  'another supervisor comes before the one that serves has said that the restart before it is off': [
    ...(['starts fail', ...begin, 'restart'] as const),
    ...steps('hear all, tell all, take over, tell all, hear all, tell all, other goes on, hear all'),
    ...steps('tell all, other goes on'),
  ],
  'no process can be started after a crash of one that has served for long': [
    ...begin,
    ...steps('six seconds, six seconds, starts fail, kill the current, reap'),
  ],
  'what a restart starts in the pause after a crash cannot be started': [
    ...begin,
    ...steps('kill the current, reap, moment, kill the newest, reap, starts fail, restart'),
  ],
  'a predecessor dies when it is confirmed, and has not told what has moved': [
    ...([...begin, 'restart', ...moves, ...confirmed] as const),
    ...steps('kill the oldest, reap'),
  ],
};

/** Plays a sequence with a few commands in between, whatever they are and wherever. */
async function playMixed(far: readonly Command[], arrives = false): Promise<void> {
  const extra = fc.tuple(fc.nat(far.length), fc.constantFrom(...commands));
  await fc.assert(
    fc.asyncProperty(fc.array(extra, { maxLength: 8 }), (extras) => {
      const mixed = [...far];
      for (const [at, command] of extras) mixed.splice(at, 0, command);
      return play(mixed, arrives);
    }),
    { ...RUNS, includeErrorInReport: true },
  );
}

const plays: Readonly<Record<string, () => Promise<void>>> = {
  'ends with one that serves, or with none after a stop': () =>
    fc.assert(
      fc.asyncProperty(sequenceOf(fc.constantFrom(...commands), { maxLength: 60 }), (sequence) =>
        play([...begin, ...sequence]),
      ),
      { ...RUNS, includeErrorInReport: true },
    ),

  'does so in the sequences that were found': async () => {
    for (const [name, sequence] of Object.entries(found))
      await play(sequence).catch((cause: Error) => {
        throw new Error(`${name}: ${cause.message}`, { cause });
      });
  },

  'starts the next one at once where a predecessor ends as soon as it serves again': async () => {
    const world = await worldAfter([
      ...([...begin, ...handover, 'roll back', 'hear all', 'go on', 'kill the predecessor'] as const),
      // Its successor only drains now; what it said itself is not read any more.
      ...steps('reap, hear all, tell all, moment, hear all, tell all, moment'),
    ]);
    assert.equal(world.state, 'reviving');
  },

  'goes on with the successor at once where its predecessor ends before it has heard of an undo':
    async () => {
      const world = await worldAfter([
        ...([...begin, ...handover, 'roll back', 'kill the predecessor'] as const),
        ...steps('reap, hear all, tell all, moment, hear all, tell all, moment'),
      ]);
      assert.equal(world.state, 'serving');
      assert.equal(world.slot.generations.current?.number, 2);
    },

  'ends with a service that has done what it was to do, whatever became of an undo that came too late':
    async () => {
      const world = await worldAfter([
        ...begin,
        ...handover,
        ...steps('elapse, tell all, hear all, roll back, tell all, hear all, leave by itself, reap, moment'),
      ]);
      assert.equal(world.state, 'stopping');
    },

  'does so where a handover has come far, and something comes in between': () =>
    playMixed([
      ...[...begin, ...handover, ...confirmed, ...handover],
      ...steps('roll back, hear all, go on, tell all'),
    ]),

  'does so where it takes over from another supervisor, and something comes in between': () =>
    playMixed(['hear all', ...takesOver, ...confirmed, ...handover], true),

  'does so where its supervisor is killed, and something comes in between': () =>
    playMixed([
      ...[...begin, ...handover],
      ...steps('supervisor dies, come back, tell all, hear all, go on, tell all'),
      ...[...confirmed, ...handover],
      ...steps('roll back, supervisor dies, hear all, go on, come back, tell all'),
    ]),

  'does so where another supervisor takes over, and something comes in between': () => {
    const talk = Array.from({ length: 12 }, () => steps('other goes on, hear all, go on, tell all')).flat();
    return playMixed([...begin, 'take over', ...talk, ...confirmed, ...talk]);
  },
};

const asked = askedOfThread();
const playedHere = asked === undefined ? undefined : plays[asked];
if (playedHere === undefined) {
  describe('who serves in a slot, in any order of events', () => {
    for (const name of Object.keys(plays)) it(name, () => inThread(import.meta.url, name));
  });
} else {
  mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'Date'] });
  performance.now = () => Date.now();
  await playedHere();
  if (process.env.SLOT_RUNS !== undefined) console.log(asked, [...reached].join(' '));
  mock.timers.reset();
  process.exit(0);
}
