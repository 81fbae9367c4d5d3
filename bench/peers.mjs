// moult beside others that restart without a stop: the same small service, the same strict load, as many restarts
// each, by turns in one run. What each is told to be is in bench/peers. nginx and HAProxy stand before the service; what
// restarts there is the proxy. One that cannot be had here is left out, and named.
import { setTimeout as pause } from 'node:timers/promises';
import { figure, ms, whole } from './measure/figures.mjs';
import { table } from './measure/table.mjs';
import { moult } from './peers/moult.mjs';
import { pm2 } from './peers/pm2.mjs';
import { memoryOf } from './peers/process-tree.mjs';
import { haproxy, nginx } from './peers/proxies.mjs';
import { gunicorn, tableflip } from './peers/self-restarting.mjs';
import { until } from './peers/server.mjs';

const PEERS = [moult, pm2, nginx, haproxy, tableflip, gunicorn];
const PASSES = 3;
const RESTARTS = 4;
const STEADY_MS = 1200;
const WARM_UP_MS = 2000;
const THINK_MS = 60;
/** No pipelining: gunicorn leaves a second request that came with the first unread. */
const CLIENTS = { 'kept-alive': 100, 'slow-body': 20, 'new-connection': 20 };
/** Memory is looked at no more often: to look costs time of the same cores. */
const MEMORY_EVERY_MS = 100;

/** @param {{ say(text: string): void, isQuick: boolean }} options */
export async function run({ say, isQuick }) {
  const passes = isQuick ? 1 : PASSES;
  const restarts = isQuick ? 2 : RESTARTS;
  /** @type {Record<string, { version: string, runs: any[] }>} */
  const found = {};
  /** @type {Record<string, string>} */
  const leftOut = {};
  for (const { name, prepare } of PEERS) {
    say(`preparing ${name}`);
    try {
      found[name] = { version: prepare(), runs: [] };
    } catch (error) {
      leftOut[name] = /** @type {Error} */ (error).message;
    }
  }
  for (let pass = 0; pass < passes; pass += 1) {
    // Who is first changes from pass to pass.
    const order = PEERS.map((_, i) => PEERS[(i + pass * 2) % PEERS.length]);
    for (const peer of order.filter(({ name }) => name in found)) {
      say(`pass ${pass + 1} of ${passes}: ${peer.name}, ${restarts} restarts`);
      found[peer.name].runs.push(await measure(peer, restarts));
    }
  }
  const peers = Object.fromEntries(
    Object.entries(found).map(([name, { version, runs }]) => [name, { version, ...sum(runs) }]),
  );
  const times = passes * restarts;
  const text = [
    table(
      [
        `${times} restarts each`,
        ...['answered', 'failed', 'lost', 'p99 steady: ms', 'p99 restarting: ms'],
        ...['longest: ms', 'a restart: ms', 'MB', 'MB, restarting'],
      ],
      Object.entries(peers).map(([name, one]) => [
        `${name}, ${one.version}`,
        ...[whole(one.answered), whole(one.failed), whole(one.lost)],
        ...[ms(one.steadyP99Ms.median), ms(one.restartP99Ms.median), ms(one.longestMs), range(one.tookMs)],
        ...[mb(one.memory.median), mb(one.restartMemory.median)],
      ]),
    ),
    'p99 and longest: requests of kept-alive clients; a restart: until no process of before is left, median [quartiles]',
    ...Object.entries(leftOut).map(([name, why]) => `left out: ${name}: ${why}`),
  ].join('\n');
  return { json: { clients: CLIENTS, thinkMs: THINK_MS, restarts: times, peers, leftOut }, text };
}

/** @param {import('./peers/server.mjs').PeerKind} kind @param {number} restarts */
async function measure(kind, restarts) {
  const { verify } = await import('../dist/verify/verify.js');
  const peer = await kind.start();
  try {
    const memory = /** @type {number[]} */ ([]);
    const restartMemory = /** @type {number[]} */ ([]);
    const restart = async () => {
      memory.push(memoryOf(peer.all()));
      restartMemory.push(await restartWholly(kind.name, peer));
      return { ok: true };
    };
    const result = await verify({
      service: { target: { host: '127.0.0.1', port: peer.port }, restart, stop: peer.stop },
      restarts,
      warmUpMs: WARM_UP_MS,
      steadyMs: STEADY_MS,
      load: { thinkMs: THINK_MS, clients: CLIENTS },
    });
    const tookMs = result.restarts.map(({ beginMs, endMs }) => endMs - beginMs);
    return { load: result.load, tookMs, memory, restartMemory };
  } finally {
    await peer.stop();
  }
}

/**
 * Restarts it and waits until others serve, and of those of before none is left; the most memory that was seen.
 * @param {string} name @param {import('./peers/server.mjs').Peer} peer
 */
async function restartWholly(name, peer) {
  const before = new Set(peer.serving());
  let most = 0;
  let isOver = false;
  const looking = (async () => {
    while (!isOver) {
      most = Math.max(most, memoryOf(peer.all()));
      await pause(MEMORY_EVERY_MS);
    }
  })();
  try {
    await peer.restart();
    await until(`${name} has restarted`, () => {
      const now = peer.serving();
      return now.length > 0 && now.every((pid) => !before.has(pid));
    });
  } finally {
    isOver = true;
  }
  await looking;
  return most;
}

/** @param {any[]} runs */
function sum(runs) {
  const total = (/** @type {string} */ name) => runs.reduce((all, { load }) => all + load.total[name], 0);
  const kept = runs.map(({ load }) => load.kinds.find(({ kind }) => kind === 'kept-alive'));
  return {
    answered: total('answered'),
    failed: total('failed'),
    lost: total('lost'),
    redials: total('redials'),
    toldToClose: total('toldToClose'),
    reasons: runs.map(({ load }) => load.total.reasons),
    kinds: runs.map(({ load }) => load.kinds),
    steadyP99Ms: figure(kept.map(({ steady }) => steady.p99Ms)),
    restartP99Ms: figure(kept.map(({ during }) => during.p99Ms)),
    longestMs: Math.max(...kept.map(({ during }) => during.maxMs)),
    tookMs: figure(runs.flatMap(({ tookMs }) => tookMs)),
    memory: figure(runs.flatMap(({ memory }) => memory)),
    restartMemory: figure(runs.flatMap(({ restartMemory }) => restartMemory)),
  };
}

/** @param {number} bytes */
const mb = (bytes) => (bytes / 1024 / 1024).toFixed(0);
/** @param {import('./measure/figures.mjs').Figure} one */
const range = ({ median, low, high }) => `${whole(median)} [${whole(low)} – ${whole(high)}]`;
