// `node proofs/restarts.mjs`: the slow proof. Twenty restarts in a row under 160 strict clients, over every supported
// Node (installed from npm into build/nodes) and several services, with good releases only, and with a broken
// release every other time, or each other restart undone in its probation. Prints a table; exit status 1 if anything
// failed, was lost or came twice. Where TLS moves, all records that were sealed are noted, by OpenSSL as well: none may be
// sealed twice.
//
//   node proofs/restarts.mjs --node 22 --service express --releases good --restarts 5
//   node proofs/restarts.mjs --service tls-move --chain
//
// With --chain each restart brings another Node: that of --node, the next one, and round again.
// Each option may be given again. One combination takes about half a minute.
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rename, rm, symlink } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { build, fixtures, inProcessOf, say, strictLoad, tableOf } from './harness.mjs';
import { expectOneOf, installNode, numberOf, VERSIONS } from './nodes.mjs';
import { sealedIn, sealedInto } from './tls/sealed.mjs';

/** Connections of TLS drain without `--tls move`: nothing fails, but they do not move. */
const SERVICES = {
  http: { script: 'http.cjs', moves: true },
  express: { script: 'express.mjs', moves: true },
  fastify: { script: 'fastify.mjs', moves: true },
  https: { script: 'https.mjs', moves: false, isTls: true },
  'tls-move': { script: 'https.mjs', moves: true, isTls: true, options: ['--tls', 'move'] },
  'tls-permission': {
    script: 'https.mjs',
    moves: true,
    isTls: true,
    options: ['--tls', 'move'],
    flags: ['--allow-fs-read=*', '--allow-fs-write=*', '--allow-addons'],
  },
};
/** The broken releases, by turns; those that never get ready last, for they take the whole ready timeout. */
const BROKEN = ['throws.mjs', 'exits.mjs', 'throws.mjs', 'other-port.mjs', 'exits.mjs', 'hangs.mjs'];
const READY_TIMEOUT = '10s';
const RELEASES = ['good', 'broken', 'undone'];

/** Heading, width and content of each column; a negative width sets it to the left. */
const COLUMNS = [
  ['node', -8, ({ version }) => version],
  ['service', -8, ({ service }) => service],
  ['releases', -8, ({ releases }) => releases],
  ['restarts', 8, ({ found }) => found.restarts],
  ['refused', 7, ({ found }) => found.refused],
  ['requests', 8, ({ found }) => found.requests],
  ['failed', 6, ({ found }) => found.failed],
  ['lost', 5, ({ found }) => found.lost],
  ['twice', 5, ({ found }) => found.duplicated],
  ['moved', 6, ({ found }) => found.moved],
  ['told to close', 13, ({ found }) => found.toldToClose],
  ['sealed', 8, ({ found }) => found.sealed ?? '-'],
  ['p99 ms', 6, ({ found }) => found.p99Ms?.toFixed(0)],
  ['max ms', 6, ({ found }) => found.maxMs?.toFixed(0)],
];

const { values } = parseArgs({
  options: {
    node: { type: 'string', multiple: true, default: Object.keys(VERSIONS) },
    service: { type: 'string', multiple: true, default: Object.keys(SERVICES) },
    releases: { type: 'string', multiple: true, default: RELEASES },
    chain: { type: 'boolean', default: false },
    restarts: { type: 'string', default: '20' },
    'think-ms': { type: 'string', default: '50' },
    one: { type: 'string' },
  },
});

/** Ctrl-C ends the combination under way, with everything that it started, and begins no other. */
const interrupted = new AbortController();
for (const name of ['SIGINT', 'SIGTERM']) process.on(name, () => interrupted.abort());

if (values.one === undefined) process.exitCode = await proveAll();
else process.stdout.write(`${JSON.stringify(await proveOne(JSON.parse(values.one)))}\n`);

async function proveAll() {
  expectOneOf('--node', values.node, Object.keys(VERSIONS));
  expectOneOf('--service', values.service, Object.keys(SERVICES));
  expectOneOf('--releases', values.releases, RELEASES);
  const restarts = numberOf('--restarts', values.restarts);
  const thinkMs = numberOf('--think-ms', values['think-ms']);
  build();
  say(
    `${restarts} restarts each; 100 kept-alive, 20 pipelining, 20 slow-body and 20 new-connection clients, no retries`,
  );
  const table = tableOf(COLUMNS);
  table.head();
  let bad = 0;
  for (const version of values.node) {
    const node = installNode(VERSIONS[version]);
    const chain = values.chain ? chainFrom(version) : undefined;
    for (const service of values.service) {
      for (const releases of values.releases) {
        if (interrupted.signal.aborted) return 1;
        const found = await inProcessOf(
          node,
          import.meta.url,
          { service, releases, restarts, thinkMs, chain },
          interrupted.signal,
        );
        table.row({ version: VERSIONS[version], service, releases, found });
        for (const line of found.problems) say(`    ${line}`);
        if (found.problems.length > 0) bad += 1;
      }
    }
  }
  say(bad === 0 ? 'all as promised' : `${bad} not as promised`);
  return bad === 0 ? 0 : 1;
}

/** That version of Node, and the following ones. */
function chainFrom(version) {
  const all = Object.keys(VERSIONS);
  const first = all.indexOf(version);
  return all.map((_, i) => installNode(VERSIONS[all[(first + i) % all.length]]));
}

async function proveOne({ service: name, releases, restarts, thinkMs, chain }) {
  const { verify } = await import('../dist/verify/verify.js');
  const { startUnderMoult } = await import('../dist/verify/moult/under-moult.js');
  const { script, moves, isTls = false, options = [], flags } = SERVICES[name];
  const good = path.join(fixtures, 'services', script);
  const mark = `MOULT_PROOF=${randomBytes(8).toString('hex')}`;
  const folder = await mkdtemp(path.join(os.tmpdir(), 'moult-proof-'));
  const link = path.join(folder, 'current.mjs');
  const node = path.join(folder, 'node');
  const point = async (from, target) => {
    await symlink(target, `${from}.next`);
    await rename(`${from}.next`, from);
  };
  const deploy = (target) => point(link, target);
  const bring = async (restart) => {
    if (chain !== undefined) await point(node, chain[restart % chain.length]);
  };
  const sealed = path.join(folder, 'sealed');
  const noting = isTls && moves ? sealedInto(sealed) : {};
  const isUndone = (restart) => releases === 'undone' && restart % 2 === 1;
  const isBroken = (restart) => releases === 'broken' && restart % 2 === 1;
  const undoing = [];
  let log = '';
  let result;
  let records;
  try {
    await deploy(good);
    await bring(0);
    const service = await startUnderMoult({
      command: commandOf(chain === undefined ? process.execPath : node, flags, link),
      runOptions: [...options, ...(releases === 'broken' ? ['--ready-timeout', READY_TIMEOUT] : [])],
      env: { PORT: '0', CERTIFICATE: fixtures, MOULT_PROOF: mark.split('=')[1], ...noting },
      onOutput: (text) => {
        log = (log + text).slice(-20_000);
      },
    });
    try {
      let n = 0;
      result = await verify({
        service: {
          ...service,
          restart: async () => {
            n += 1;
            const broken = BROKEN[((n - 1) / 2) % BROKEN.length];
            await deploy(isBroken(n) ? path.join(fixtures, 'services/broken', broken) : good);
            await bring(n);
            const outcome = await service.restart();
            if (!isUndone(n)) return outcome;
            // Its connections are moving, or have moved.
            await pause(Math.random() * 400);
            const back = await service.rollback();
            if (!back.ok) undoing.push(`undo of restart ${n}: ${back.said}`);
            return outcome;
          },
        },
        load: strictLoad(thinkMs, isTls ? { tls: { rejectUnauthorized: false } } : {}),
        restarts,
        signal: interrupted.signal,
        expectBroken: isBroken,
        steadyMs: 200,
      });
    } finally {
      await service.stop();
    }
    records = isTls && moves ? sealedIn(sealed) : undefined;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  const { total, failures, kinds } = result.load;
  const problems = result.interrupted ? ['interrupted'] : [];
  problems.push(...undoing, ...(records?.twice.slice(0, 3) ?? []));
  if (records?.handedOver === 0) problems.push('no key was used by OpenSSL, and then by moult');
  const expectNone = (what, count) => {
    if (count > 0) problems.push(`${count} ${what}: ${JSON.stringify(total.reasons)}`);
  };
  expectNone('failed', total.failed);
  expectNone('came twice', total.duplicated);
  if (moves) expectNone('lost', total.lost);
  if (moves) expectNone('dialled again', total.redials);
  for (const { restart, outcome, expectedToFail } of result.restarts) {
    if (outcome.ok === expectedToFail)
      problems.push(`restart ${restart}: ${JSON.stringify(outcome.error ?? 'succeeded, though broken')}`);
  }
  const left = processesWith(mark);
  if (left.length > 0) problems.push(`left behind: ${JSON.stringify(left)}`);
  if (problems.length > 0) {
    const windows = result.restarts.map(({ beginMs, endMs }) => [Math.round(beginMs), Math.round(endMs)]);
    problems.push(`windows ${JSON.stringify(windows)}`);
    problems.push(...failures.slice(0, 20).map((failure) => JSON.stringify(failure)));
    problems.push(`the last output: ${log.slice(-6000)}`);
  }
  const moved = result.restarts.map(({ outcome }) => outcome.summary?.moved ?? 0);
  const worst = (figure) => Math.max(...kinds.map(({ during }) => during[figure] ?? 0));
  return {
    requests: total.requests,
    failed: total.failed,
    lost: total.lost,
    duplicated: total.duplicated,
    toldToClose: total.toldToClose,
    sealed: records?.records,
    moved: moved.reduce((sum, one) => sum + one, 0),
    refused: result.restarts.filter(({ outcome }) => !outcome.ok).length,
    restarts: result.restarts.length,
    p99Ms: worst('p99Ms'),
    maxMs: worst('maxMs'),
    problems,
  };
}

/** @param flags of a Node that may only do what they say. */
function commandOf(node, flags, script) {
  if (flags === undefined) return node === process.execPath ? [script] : [node, script];
  const known = process.allowedNodeEnvironmentFlags;
  const permission = known.has('--permission') ? '--permission' : '--experimental-permission';
  return [node, permission, ...flags, ...(known.has('--allow-net') ? ['--allow-net'] : []), script];
}

/** The living processes whose environment holds this entry. */
function processesWith(entry) {
  return readdirSync('/proc').filter((name) => {
    if (!/^\d+$/.test(name) || Number(name) === process.pid) return false;
    try {
      return readFileSync(`/proc/${name}/environ`, 'utf8').split('\0').includes(entry);
    } catch {
      return false;
    }
  });
}
