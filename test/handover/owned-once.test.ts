import assert from 'node:assert/strict';
import { after, before, describe, it, mock } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { MoultError } from '#moult/errors.js';
import { epochAfter } from '#moult/os/clock.js';
import { ProcessHandle } from '#moult/os/unix-sockets/peer.js';
import type { Message, Settings } from '#moult/protocol/messages.js';
import { End } from '../support/end.js';
import fc from '../support/fast-check.js';
import { sequenceOf } from '../support/sequence.js';
import { Owner, PARTS, Record } from './owners.js';
import { settings as usual } from './surroundings.js';

/*
 * The real two ends of handovers, with real timers, jobs, maps and values, over channels that deliver a message only when
 * they are told to. What was acknowledged is noted beside, and at the end each of it must have come to pass: once.
 */

/** How many random sequences proofs/owned-once.mjs wants; undefined in the tests, which play the same ones each time. */
const wanted = process.env.MOULT_SEQUENCES === undefined ? undefined : Number(process.env.MOULT_SEQUENCES);
/** How many sequences have one seed. */
const PER_SEED = wanted === undefined ? 15 : 200;
const firstSeed = Number(process.env.MOULT_SEED ?? 1);
const seeds = Array.from(
  { length: wanted === undefined ? 4 : Math.ceil(wanted / PER_SEED) },
  (_, i) => firstSeed + i,
);

const settings: Settings = { ...usual, drainTimeoutMs: 8000 };

const commands = [
  'restart',
  'ask',
  'ready',
  'up',
  'down',
  'turns',
  'undo',
  'confirm',
  'kill giver',
  'kill taker',
  'kill server',
  'kill supervisor',
  'supervisor',
  'take over',
  'second',
  'six seconds',
  'step',
  'set',
  'set late',
  'clear',
  'clear late',
  'stay',
  'stay late',
  'move',
  'move late',
  'change',
  'change late',
  'set older',
  'clear older',
  'stay older',
  'move older',
  'change older',
] as const;

type Command = (typeof commands)[number];

/** The supervisor as far as it takes part, and all generations that live. */
class World {
  record = new Record();
  owners: Owner[] = [];
  #count = 0;
  /** While there is none nobody restarts, undoes or confirms, or says commit for a predecessor that is gone. */
  #hasSupervisor = true;

  constructor() {
    const first = this.#add();
    first.listener.state = 'open';
    first.successor.serveAtOnce();
    Owner.isOnTheWay = () => this.ends.some((end) => end.waiting > 0 || end.other.isClosed);
  }

  get ends(): End[] {
    return this.owners
      .flatMap(({ giver, fallbacks }) => [...(giver ?? []), ...fallbacks.flat()])
      .filter((end) => !end.isClosed);
  }

  /** Who accepts; else whoever would if nobody were between. */
  get server(): Owner | undefined {
    const served = this.owners.filter(({ hasServed }) => hasServed);
    return served.find(({ accepts }) => accepts) ?? served.at(-1);
  }

  /** One in which requests may be in progress although it accepts no more. */
  get former(): Owner | undefined {
    return this.owners.filter(({ hasServed, accepts }) => hasServed && !accepts).at(-1);
  }

  /** The oldest in which requests may be in progress: what it gives goes through those between. */
  get older(): Owner | undefined {
    return this.owners.find(({ hasServed, accepts }) => hasServed && !accepts);
  }

  /** The newest handover that is not over. */
  get handover(): { readonly giver: Owner; readonly taker: Owner } | undefined {
    const taker = this.owners.filter(({ source }) => source !== undefined).at(-1);
    return taker?.source === undefined ? undefined : { giver: taker.source, taker };
  }

  async do(command: Command): Promise<void> {
    const { record, handover } = this;
    const who = command.endsWith('late') ? this.former : command.endsWith('older') ? this.older : this.server;
    switch (command.split(' ')[0]) {
      case 'restart':
        if (this.#hasSupervisor) this.#restart();
        return;
      case 'supervisor':
        this.#hasSupervisor = true;
        return;
      case 'take':
        this.#hasSupervisor = true;
        this.#restart(true);
        return;
      case 'ask':
        await this.#ask();
        return;
      case 'ready':
        this.#ready();
        return;
      case 'up':
        for (const { giver, fallbacks } of [...this.owners])
          for (const ends of [giver ?? [], ...fallbacks]) ends[1]?.deliver();
        return;
      case 'down':
        for (const { giver, fallbacks } of [...this.owners])
          for (const ends of [giver ?? [], ...fallbacks]) ends[0]?.deliver();
        return;
      case 'turns':
        await turns();
        return;
      case 'undo':
        if (this.#hasSupervisor && handover?.giver.isAlive)
          handover.giver.predecessor.fail(new MoultError('MOULT_ROLLED_BACK', 'asked for'));
        return;
      case 'confirm':
        if (this.#hasSupervisor && handover?.giver.isAlive) handover.giver.predecessor.confirm();
        return;
      case 'kill':
        if (command === 'kill supervisor') this.#hasSupervisor = false;
        else if (command === 'kill server') this.kill(this.server);
        else this.kill(command === 'kill giver' ? handover?.giver : handover?.taker);
        return;
      case 'second':
        mock.timers.tick(1000);
        return;
      case 'six':
        mock.timers.tick(6000);
        return;
      case 'step':
        for (const owner of this.owners) owner.step();
        return;
      case 'set':
        who?.set(`timer ${record.set.size}`, [500, 5000, 20_000][record.set.size % 3] ?? 0);
        return;
      case 'clear': {
        const id = [...record.set].filter((one) => !record.cleared.has(one) && !record.fired.has(one)).at(-1);
        if (id !== undefined) who?.clear(id);
        return;
      }
      case 'stay':
      case 'move':
        who?.start(command.startsWith('stay') ? 'stay' : 'move', `job ${record.started.size}`);
        return;
      case 'change':
        who?.change();
    }
  }

  /** What the supervisor does when it sees how things are. */
  tidy(): void {
    for (const owner of [...this.owners]) {
      const { source, inUndo } = owner;
      if (owner.predecessor.state !== 'undoing')
        for (const what of [inUndo.changed, inUndo.done]) what.clear();
      if (source === undefined || owner.successor.isCommitted) continue;
      if (source.isAlive && source.predecessor.state === 'serving') this.dies(owner);
      else if (this.#hasSupervisor && !source.isAlive && owner.isReady) this.#commit(owner);
    }
  }

  kill(owner: Owner | undefined): void {
    if (owner === undefined || !owner.isAlive) return;
    const { record } = this;
    record.wasKilled = true;
    const { source } = owner;
    const takers = this.owners.filter((one) => one.source === owner && one.isAlive);
    const giverState = source?.isAlive ? source.predecessor.state : undefined;
    const goesBack =
      !owner.isProved &&
      (giverState === 'committing' ||
        giverState === 'verifying' ||
        giverState === 'probation' ||
        giverState === 'undoing');
    const state = owner.predecessor.state;
    if (goesBack && owner.successor.isCommitted) record.hasLostMaps = true;
    const isNotYet = !owner.successor.isCommitted && source?.isAlive === true;
    // One that has handed back, and has only something left to finish.
    const isLeftover = state === 'draining' && (source?.isAlive === true || takers.length > 0);
    // One that has handed back is none; one that is handing back serves on.
    const heir = takers.find(
      ({ asked, predecessor }) => asked === 'has it' && predecessor.state !== 'draining',
    );
    const isUndone = state === 'undoing';
    const servesOn = isUndone && heir?.successor.isCommitted && heir.giver?.[1].isClosed === false;
    if (!isNotYet && !goesBack && !isLeftover && heir === undefined) record.hasLostAll = true;
    if (isUndone && !servesOn) record.hasLostAll = true;
    if (servesOn) {
      reached.set('served on', (reached.get('served on') ?? 0) + 1);
      for (const what of owner.inUndo.changed) record.untold.add(what);
      for (const what of owner.inUndo.done) record.mayRepeat.add(what);
    }
    if (owner.isCutOff) {
      for (const [name, by] of record.runs) if (by === owner) record.mayRepeat.add(name);
      for (const [what, by] of record.last) if (by === owner) record.untold.add(what);
    }
    for (const change of owner.changes) record.ofKilled.add(change);
    // Whoever has its value is told of each change that comes to it from then on.
    if (owner.successor.isCommitted && !['probation', 'verifying', 'draining', 'ended'].includes(state))
      record.hasLostValues = true;
    if (this.#hasUnreadOfKilled(owner))
      for (const [what, by] of record.last) if (!by.accepts && !isJob(what)) record.untold.add(what);
    if (owner.isProved && source?.isAlive) this.#cutOff(source);
    for (const one of takers)
      if (state !== 'draining' && one.predecessor.state === 'draining') this.#cutOff(one);
    owner.wasKilled = true;
    this.dies(owner);
  }

  /** Whether one that was killed had told this one what it has not read. */
  #hasUnreadOfKilled(owner: Owner): boolean {
    const isKilled = ({ peer: { pid } }: End) => this.owners.some((one) => one.pid === pid && one.wasKilled);
    const ends = [owner.giver?.[0], ...owner.fallbacks.map(([near]) => near)];
    return ends.some((end) => end !== undefined && end.waiting > 0 && isKilled(end));
  }

  /** Jobs that run in this one are known to nobody else from now on. */
  #cutOff(one: Owner): void {
    one.isCutOff = true;
    if (one.source?.isAlive && one.predecessor.state !== 'serving' && one.isProved) this.#cutOff(one.source);
  }

  dies(owner: Owner): void {
    owner.isAlive = false;
    owner.lifeline[0].close();
    owner.giver?.[0].close();
    for (const [near] of owner.fallbacks) near.close();
    for (const other of this.owners) {
      if (other.source === owner) other.giver?.[1].close();
      for (const [near, far] of other.fallbacks) if (near.peer.pid === owner.pid) far.close();
    }
  }

  #meet(next: Owner, door: string): [End, End] | undefined {
    const earlier = this.owners.find(({ context, isAlive }) => isAlive && context.fallbacks.own === door);
    if (earlier === undefined) return undefined;
    const [near, far] = End.pair(next.pid, earlier.pid);
    try {
      earlier.predecessor.letIn(far.channel);
    } catch {
      return undefined;
    }
    return [near, far];
  }

  #add(): Owner {
    this.#count += 1;
    const owner = new Owner(
      this.#count,
      this.record,
      (one) => this.dies(one),
      (one, door) => this.#meet(one, door),
    );
    this.owners.push(owner);
    return owner;
  }

  /** @param takesOver whether its successor is a stranger, started by somebody else than its supervisor. */
  #restart(takesOver = false): void {
    const current = this.owners.find(({ accepts }) => accepts);
    // As the supervisor: an undo comes to its end first.
    if (this.owners.some(({ isAlive, predecessor }) => isAlive && predecessor.state === 'undoing')) return;
    if (current === undefined || current.predecessor.state !== 'serving' || current.successor.isGivingUp)
      return;
    current.isProved ||= current.source !== undefined;
    current.successor.confirm();
    current.predecessor.expect(this.#count + 1, settings);
    const next = this.#add();
    const [near, far] = End.pair(next.pid, current.pid);
    next.giver = [near, far];
    next.source = current;
    near.on('inherit', (message) => {
      near.off('inherit');
      const { door, earlier } = message as Message<'inherit'>;
      next.successor.inheritFrom(near.channel, { keeps: true, broadcasts: true, door, earlier });
    });
    const hello = { type: 'hello', ...(takesOver ? {} : { generation: next.number }) };
    current.predecessor.receive(far.channel, hello as unknown as Message<'hello'>, next.number);
    near.deliver();
  }

  async #ask(): Promise<void> {
    const next = this.owners.at(-1);
    if (next === undefined || !next.isAlive || next.asked !== 'not' || next.source === undefined) return;
    next.asked = 'waits';
    next.successor.takeState().then(
      () => {
        next.asked = 'has it';
      },
      () => {},
    );
    for (let i = 0; i < 20 && next.asked === 'waits'; i += 1) {
      while ([...(next.giver ?? []), ...next.fallbacks.flat()].some((end) => end.deliver()));
      await turn();
    }
  }

  #ready(): void {
    const next = this.owners.at(-1);
    if (!next?.isAlive || next.isReady || next.asked !== 'has it') return;
    next.isReady = true;
    next.successor.ready(false, []);
  }

  // Nobody is left who could say it.
  #commit(next: Owner): void {
    if (!next.isAlive) return;
    next.lifeline[1].on('ready', () => {}).on('committed', () => {});
    while (next.lifeline[1].deliver());
    const epoch = epochAfter(Math.max(...this.owners.map(({ context }) => context.epoch)));
    next.lifeline[1].send({ type: 'commit', epoch } as never);
    next.lifeline[0].deliver();
  }
}

function isJob(what: string): boolean {
  return what.startsWith('job ');
}

async function turns(): Promise<void> {
  for (let i = 0; i < 3; i += 1) await turn();
}

// Of the queue of ticks each is called once no microtask is left. Promises are dear where node:test follows each.
async function microtasks(): Promise<void> {
  for (let i = 0; i < 2; i += 1) await new Promise<void>((resolve) => process.nextTick(resolve));
}

let world: World;
/** How far sequences came, over all of them. */
const reached = new Map<string, number>();

async function play(sequence: readonly Command[]): Promise<World> {
  world = new World();
  End.unexpected = (what) => world.record.wrong.push(what);
  for (const command of sequence) {
    await world.do(command);
    await microtasks();
    world.tidy();
    await microtasks();
    assert.deepEqual(world.record.wrong, [], `after ${command}`);
  }
  await world.do('supervisor');
  // Left to itself everything comes to its end: first what was said is heard, then time goes on.
  for (let round = 0; round < 16; round += 1) {
    for (let i = 0; i < 50 && world.ends.some((end) => end.deliver()); i += 1) await microtasks();
    await turns();
    world.tidy();
    for (const owner of world.owners.filter(({ isAlive }) => isAlive)) owner.step();
    await turns();
    if (round > 3) mock.timers.tick(round % 2 === 0 ? 1000 : 7000);
    await microtasks();
  }
  check(world);
  return world;
}

function check({ record, owners }: World): void {
  assert.deepEqual(record.wrong, []);
  const { untold, mayRepeat } = record;
  for (const [id, times] of record.fired)
    assert.ok(times === 1 || mayRepeat.has(id), `${id} was run ${times} times`);
  for (const [name, times] of record.done)
    assert.ok(times === 1 || mayRepeat.has(name), `${name} was done ${times} times`);
  for (const [name, parts] of record.parts)
    if (!mayRepeat.has(name))
      assert.equal(new Set(parts).size, parts.length, `${name} did parts twice: ${parts}`);
  const server = owners.find(({ accepts }) => accepts);
  if (server === undefined || record.hasLostAll) {
    reached.set('lost', (reached.get('lost') ?? 0) + 1);
    return;
  }
  reached.set('kept', (reached.get('kept') ?? 0) + 1);
  if (record.wasKilled) reached.set('kept though killed', (reached.get('kept though killed') ?? 0) + 1);
  for (const id of record.set)
    if (!untold.has(id))
      assert.ok(record.cleared.has(id) || record.fired.has(id), `${id} was set, and never run`);
  for (const name of record.started) {
    if (untold.has(name) || mayRepeat.has(name)) continue;
    assert.deepEqual(
      record.parts.get(name),
      Array.from({ length: PARTS }, (_, part) => part),
      name,
    );
    assert.ok(record.done.has(name), `${name} was started, and never done`);
  }
  if (!record.hasLostMaps)
    assert.deepEqual(
      [
        ...new Set([...server.map.keys(), ...[...record.keys].filter((key) => untold.has(`key ${key}`))]),
      ].sort((a, b) => a - b),
      [...record.keys],
      'what was set in the map',
    );
  if (!record.wasKilled) assert.equal(server.counter.count, record.count, 'what was added to the value');
  if (!record.hasLostMaps && !record.hasLostValues) {
    const kept = [...record.keys].filter((key) => !record.ofKilled.has(key) && !untold.has(`key ${key}`));
    assert.ok(
      server.counter.count >= kept.length,
      `${server.counter.count} of ${kept.length} additions to the value`,
    );
  }
  assert.ok(server.counter.count <= record.count, 'nothing was added twice');
}

const talk: readonly Command[] = Array.from(
  { length: 6 },
  () => ['up', 'up', 'down', 'down', 'turns'] as const,
).flat();
const some: readonly Command[] = ['set', 'stay', 'change', 'move', 'set', 'set'];
const late: readonly Command[] = [
  'set late',
  'clear late',
  'stay late',
  'change late',
  'move late',
  'change',
];
const handover: readonly Command[] = ['restart', 'ask', 'change', 'set', 'move', 'ready', ...talk];
const far: readonly (readonly Command[])[] = [
  [
    ...some,
    'step',
    ...handover,
    ...late,
    'step',
    'undo',
    ...late,
    ...talk,
    ...late,
    ...handover,
    'undo',
    ...talk,
  ],
  [
    ...some,
    ...handover,
    ...late,
    'confirm',
    ...talk,
    ...late,
    ...handover,
    ...late,
    'undo',
    ...talk,
    ...some,
  ],
  [...some, ...handover, ...late, ...handover, ...late, 'undo', ...talk, ...late, ...handover],
  [
    ...some,
    ...handover,
    ...late,
    'step',
    'kill taker',
    ...talk,
    ...late,
    ...handover,
    'kill giver',
    ...talk,
    ...some,
  ],
  [
    ...some,
    'step',
    ...handover,
    ...late,
    'step',
    'undo',
    'down',
    'up',
    'kill giver',
    ...talk,
    ...some,
    ...handover,
  ],
  // Only the two generations are left in the middle of a handover; then another supervisor takes over.
  [
    ...some,
    ...handover.slice(0, -10),
    'kill supervisor',
    ...late,
    'step',
    ...talk,
    'supervisor',
    'take over',
    ...handover.slice(1),
    ...late,
    'kill supervisor',
    'kill giver',
    ...talk,
    ...some,
  ],
];

/**
 * A generation that still has work when the second restart begins; then whoever has all is killed with what that one has said
 * last unread.
 */
const unread: readonly Command[] = ['set', 'stay', 'move', 'move', ...handover, ...handover];

/** One of `far`, and what comes in between: found by the random search, each once wrong. */
const found: readonly (readonly [number, readonly (readonly [number, Command])[]])[] = [
  [
    2,
    [
      [49, 'kill giver'],
      [33, 'undo'],
    ],
  ],
  [
    2,
    [
      [50, 'kill giver'],
      [43, 'down'],
      [13, 'set late'],
    ],
  ],
  [
    2,
    [
      [0, 'restart'],
      [0, 'restart'],
      [59, 'kill giver'],
      [0, 'set'],
    ],
  ],
  [
    2,
    [
      [50, 'kill giver'],
      [41, 'kill giver'],
    ],
  ],
  [
    2,
    [
      [50, 'kill giver'],
      [29, 'undo'],
    ],
  ],
  [
    0,
    [
      [2, 'step'],
      [28, 'kill server'],
      [15, 'step'],
      [32, 'six seconds'],
    ],
  ],
];

function mixed(which: number, extras: readonly (readonly [number, Command])[]): Command[] {
  const sequence = [...(far[which] ?? [])];
  for (const [at, command] of extras) sequence.splice(at, 0, command);
  return sequence;
}

describe('what was acknowledged, over handovers in any order of events', () => {
  const { kill, hasEnded } = ProcessHandle.prototype;

  before(() => {
    const by = (pid: number) => world.owners.find((owner) => owner.pid === pid);
    ProcessHandle.prototype.kill = function (this: ProcessHandle) {
      // One that was killed is still in this process.
      const owner = by(this.pid);
      if (owner?.source?.isAlive) world.kill(owner);
      return true;
    };
    ProcessHandle.prototype.hasEnded = function (this: ProcessHandle) {
      return by(this.pid)?.isAlive !== true;
    };
    mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'setImmediate', 'Date'] });
  });

  after(() => {
    mock.timers.reset();
    Object.assign(ProcessHandle.prototype, { kill, hasEnded });
  });

  it('comes to pass once where a handover goes its way', async () => {
    for (const sequence of far) {
      const { record } = await play(sequence);
      assert.ok(record.started.size >= 4 && record.set.size >= 6 && record.keys.size >= 4, 'enough was done');
      assert.equal(record.hasLostAll, false);
    }
  });

  it('is not done again where its owner was killed after it had said that it is done', async () => {
    const sequence: readonly Command[] = [
      ...['restart', ...some, 'ask', 'second', 'kill giver', 'ready', 'six seconds'],
      ...talk,
    ] as Command[];
    const { record, server } = await play(sequence);
    assert.equal(record.fired.get('timer 0'), 1);
    assert.equal(server?.number, 2);
  });

  it('is done by whoever told of it where whoever was told is killed before it has read that', async () => {
    for (const killed of ['kill giver', 'kill taker'] as const)
      for (const said of [
        ['step'],
        ['move older', 'stay older'],
        ['step', 'move older', 'down', 'step', 'stay older'],
        ['stay older', 'up', 'down', 'step', 'turns', 'move older', 'up'],
      ] as const) {
        const { record } = await play([...unread, ...said, killed, ...talk, ...some]);
        assert.deepEqual([...record.untold], [], 'jobs are told of');
        assert.equal(record.done.size, record.started.size);
      }
  });

  it('is told to whoever serves where whoever was told is killed before it has read that', async () => {
    const changes = ['set older', 'clear older', 'change older'] as const;
    for (const killed of ['kill giver', 'kill taker'] as const)
      for (const said of [
        changes,
        ['change older', 'set older', 'down', 'change older', 'clear older', 'set older'],
        ['clear older', 'up', 'down', 'turns', 'change older', 'set older', 'up'],
        [...changes, 'step', 'step', 'step', 'turns', 'up', 'turns'],
      ] as const) {
        const { record, server } = await play([...unread, ...said, killed, ...changes, ...talk, ...some]);
        assert.deepEqual([...record.untold], []);
        assert.ok(record.cleared.size >= 1 && record.set.size >= 3);
        assert.equal(server?.counter.count, record.count);
      }
  });

  for (const [which, extras] of found) {
    it(`does in one that was found: ${which}, ${extras.join(' ')}`, async () => {
      await play(mixed(which, extras));
    });
  }

  // One test takes no longer than the watch over a test file has patience.
  for (const [which, sequence] of far.entries()) {
    const all = (sequence.length + 1) * commands.length;
    const every = wanted === undefined ? 97 : 1;
    for (let from = 0; from < all; from += every * 400) {
      it(`does where one thing comes in between, whatever it is and wherever: ${which}, from ${from}`, async () => {
        for (let i = from; i < Math.min(all, from + every * 400); i += every) {
          const at = Math.floor(i / commands.length);
          const command = commands[i % commands.length] as Command;
          await play(sequence.toSpliced(at, 0, command)).catch((cause: Error) => {
            throw new Error(`${command} before step ${at} of ${sequence}: ${cause.message}`, { cause });
          });
        }
      });
    }
  }

  for (const seed of seeds) {
    it(`does in any sequence, those of seed ${seed}`, async () => {
      const extra = fc.tuple(fc.nat(60), fc.constantFrom(...commands));
      await fc.assert(
        fc.asyncProperty(
          fc.nat(far.length - 1),
          sequenceOf(extra, { maxLength: 12 }),
          async (which, extras) => {
            await play(mixed(which, extras));
          },
        ),
        { seed, numRuns: PER_SEED, includeErrorInReport: true },
      );
    });
  }

  it('has kept what it had in sequences in which something was killed', () => {
    assert.ok((reached.get('kept though killed') ?? 0) > 0, `${[...reached]}`);
    assert.ok((reached.get('served on') ?? 0) > 0, `${[...reached]}`);
  });
});
