import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { End } from '../support/end.js';
import fc from '../support/fast-check.js';
import { modelRuns } from '../support/model-runs.js';
import { sequenceOf } from '../support/sequence.js';
import { FlowGenerations } from './flow-generations.js';

const CLIENTS = 3;

const WEIGHTS = { send: 8, receive: 8, deliver: 16, turn: 5, leave: 2, restart: 1, undo: 1 };

interface Step {
  readonly do: keyof typeof WEIGHTS;
  /** Of those there are, by turns. */
  readonly which: number;
}

const step: fc.Arbitrary<Step> = fc.oneof(
  ...Object.entries(WEIGHTS).map(([name, weight]) => ({
    weight,
    arbitrary: fc.record({ do: fc.constant(name as Step['do']), which: fc.nat(99) }),
  })),
);

async function play(generations: FlowGenerations, what: Step): Promise<void> {
  if (what.do === 'send') generations.send(what.which % CLIENTS);
  else if (what.do === 'receive') generations.receive();
  else if (what.do === 'restart') generations.restart();
  else if (what.do === 'undo') generations.undo();
  else if (what.do === 'turn') await turn();
  else if (what.do === 'leave') {
    const { all } = generations;
    const one = all[what.which % all.length];
    if (one !== undefined) generations.leave(one);
  } else {
    const waiting = generations.waiting();
    waiting[what.which % waiting.length]?.deliver();
  }
  // What is told by a promise, such as the end of a channel.
  for (let i = 0; i < 3; i += 1) await undefined;
}

/** Each datagram was given to one service, and none that serves no more has to stay. */
function allGiven(generations: FlowGenerations): void {
  let sent = 0;
  for (let client = 0; client < CLIENTS; client += 1) sent += generations.sent(client);
  assert.equal(generations.given.length, sent, 'each was given to one service');
  for (const { tells, isGone, number } of generations.all)
    if (!isGone) assert.notEqual(tells?.isDone, false, `generation ${number} may leave`);
}

/** What the services were given of a client, as `<generation>/<datagram>`. */
function givenOf(generations: FlowGenerations, client: number): string[] {
  return generations.given
    .filter((given) => given.client === client)
    .map(({ generation, number }) => `${generation}/${number}`);
}

/** A session of three of client 0 begins in the first of three generations, and its second datagram has been there. */
async function threeGenerations(): Promise<FlowGenerations> {
  const generations = new FlowGenerations();
  await generations.come(0);
  generations.restart();
  await generations.settle();
  generations.restart();
  await generations.settle();
  await generations.come(0);
  assert.deepEqual(givenOf(generations, 0), ['0/0', '0/1']);
  return generations;
}

/** The newest receives so many datagrams of a client, and sends them on their way. */
async function received(generations: FlowGenerations, client: number, count: number): Promise<void> {
  for (let i = 0; i < count; i += 1) generations.send(client);
  while (generations.receive());
  await turn();
}

/** Lets through what one generation has said to another; all of it, or so many messages. */
async function letThrough(
  generations: FlowGenerations,
  [from, to]: readonly [number, number],
  most = Number.POSITIVE_INFINITY,
): Promise<void> {
  const end = generations.at(to).ends.find(({ other }) => generations.at(from).ends.includes(other));
  for (let i = 0; i < most && end?.deliver() === true; i += 1);
  await turn();
}

async function endsWell(generations: FlowGenerations): Promise<void> {
  await generations.finish();
  assert.deepEqual(generations.problems(), []);
  allGiven(generations);
}

describe('a flow of datagrams that ends two generations ago', () => {
  it('is not told to have ended while its next session is on its way back to the one in between', async () => {
    const generations = await threeGenerations();
    // The last of the session, and the first of the next.
    await received(generations, 0, 2);
    await letThrough(generations, [2, 1]);
    await letThrough(generations, [1, 0]);
    // Of what the first says: that it has ended.
    await letThrough(generations, [0, 1], 1);
    await letThrough(generations, [1, 2]);
    await received(generations, 0, 1);
    await endsWell(generations);
    assert.deepEqual(givenOf(generations, 0), ['0/0', '0/1', '0/2', '1/3', '1/4', '1/5']);
  });

  it('is told to have ended when nothing comes back, and its next session is that of who receives', async () => {
    const generations = await threeGenerations();
    await received(generations, 0, 1);
    await endsWell(generations);
    await received(generations, 0, 1);
    assert.deepEqual(givenOf(generations, 0).at(-1), '2/3');
  });

  it('keeps what comes of it behind what comes back, and passes none of it on before', async () => {
    const generations = await threeGenerations();
    await received(generations, 0, 2);
    await letThrough(generations, [2, 1]);
    await letThrough(generations, [1, 0]);
    await letThrough(generations, [0, 1], 1);
    await received(generations, 0, 1);
    await letThrough(generations, [2, 1]);
    assert.equal(generations.given.length, 3, 'it waits for what comes back');
    await endsWell(generations);
    assert.deepEqual(givenOf(generations, 0).slice(3, 5), ['1/3', '1/4']);
  });

  it('goes on there where it begins again, with what was held', async () => {
    const generations = await threeGenerations();
    await received(generations, 0, 1);
    await received(generations, 0, 1);
    // In two messages: the first ends the session.
    await letThrough(generations, [2, 1], 1);
    await letThrough(generations, [2, 1], 1);
    await letThrough(generations, [1, 0], 1);
    await letThrough(generations, [0, 1], 1);
    // The one in between keeps it back, until it knows more.
    await received(generations, 0, 1);
    await letThrough(generations, [2, 1]);
    generations.at(0).flows.begin('0');
    await endsWell(generations);
    assert.deepEqual(givenOf(generations, 0).slice(3), ['0/3', '0/4', '0/5']);
  });

  it('goes to the one in between, with what was held, when the first is killed', async () => {
    const generations = await threeGenerations();
    await received(generations, 0, 2);
    await letThrough(generations, [2, 1]);
    await letThrough(generations, [1, 0]);
    await letThrough(generations, [0, 1], 1);
    await received(generations, 0, 1);
    await letThrough(generations, [2, 1]);
    generations.end(generations.at(0));
    await generations.finish();
    // What it had returned by then was heard.
    assert.deepEqual(givenOf(generations, 0).slice(3, 5), ['1/3', '1/4']);
    assert.deepEqual(generations.problems(), []);
  });

  it('is waited for by the one in between that leaves at its drain timeout: what comes back is not lost', async () => {
    const generations = await threeGenerations();
    await received(generations, 0, 2);
    await letThrough(generations, [2, 1]);
    const isGone = generations.cut(generations.at(1));
    await letThrough(generations, [1, 2]);
    await letThrough(generations, [2, 1]);
    await generations.settle();
    await isGone;
    assert.deepEqual(givenOf(generations, 0), ['0/0', '0/1', '0/2', '1/3']);
  });

  it('keeps each of several apart', async () => {
    const generations = new FlowGenerations();
    await generations.come(0);
    await generations.come(1);
    generations.restart();
    await generations.settle();
    generations.restart();
    await generations.settle();
    await received(generations, 0, 3);
    await received(generations, 1, 4);
    await letThrough(generations, [2, 1]);
    await letThrough(generations, [1, 0]);
    for (let i = 0; i < 2; i += 1) {
      await letThrough(generations, [0, 1], 1);
      await received(generations, i, 1);
      await letThrough(generations, [2, 1], 1);
      await letThrough(generations, [1, 2]);
    }
    await endsWell(generations);
  });
});

describe('a flow of datagrams that ends in the generation before', () => {
  it('has what comes back before what was received meanwhile', async () => {
    const generations = new FlowGenerations();
    await generations.come(0);
    generations.restart();
    await generations.settle();
    await received(generations, 0, 3);
    await letThrough(generations, [1, 0]);
    await letThrough(generations, [0, 1], 1);
    await received(generations, 0, 1);
    await endsWell(generations);
    assert.deepEqual(givenOf(generations, 0).slice(0, 5), ['0/0', '0/1', '0/2', '1/3', '1/4']);
  });

  it('is in order when the handover is undone: what was received goes before what is received next', async () => {
    const generations = new FlowGenerations();
    await generations.come(0);
    generations.restart();
    await generations.settle();
    generations.send(0);
    generations.receive();
    generations.undo();
    await letThrough(generations, [0, 1]);
    generations.send(0);
    await letThrough(generations, [1, 0], 1);
    generations.receive();
    await endsWell(generations);
    assert.deepEqual(givenOf(generations, 0), ['0/0', '0/1', '0/2']);
  });
});

describe('flows of datagrams over random orders of what generations say', () => {
  it('are each in one generation and in order, and none keeps a generation for ever', async () => {
    await fc.assert(
      fc.asyncProperty(sequenceOf(step, { minLength: 40, maxLength: 300 }), async (steps) => {
        const wrong: string[] = [];
        End.unexpected = (what) => wrong.push(what);
        const generations = new FlowGenerations();
        for (const one of steps) await play(generations, one);
        await generations.finish();
        assert.deepEqual(wrong, []);
        assert.deepEqual(generations.problems(), []);
        allGiven(generations);
      }),
      modelRuns('FLOW_RUNS', 200),
    );
  });
});
