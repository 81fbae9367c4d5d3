// `node proofs/fleet.mjs`: a fleet on three real NATS servers in a cluster, in parts.
//
//   rolls     ten hosts under strict load: 20 rolls, a third of them broken in different ways: no broken release passes its
//             canaries, nothing fails and nothing is lost
//   kills     leaders' agents, the operator's command, servers, supervisors and whole hosts in the middle of their restart,
//             all agents at once, and partitions, at times that a seed gives: every roll ends, no host is left on a release
//             that nobody decided, no two leaders are obeyed
//   thousand  1,000 agents without services in one process: messages and time of a roll, next to 250 and 500; --sizes 50,100,200
//             on a smaller machine
//   away      all servers away for a while: services unaffected, the memory of the agents flat, all join again
//
//   node proofs/fleet.mjs --part kills --rolls 6 --hosts 5 --seed 7 --built
//   node proofs/fleet.mjs --part rolls --rolls 10 --first-roll 11 --built     the second half of it
//
// Prints what was measured; exit status 1 if anything was not as promised.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { startCluster } from './fleet/cluster.mjs';
import { fleet, Host, writeReleases } from './fleet/host.mjs';
import { startProxy } from './fleet/proxy.mjs';
import { thousand } from './fleet/simulated.mjs';
import { expectOneOf, numberOf } from './nodes.mjs';

const PARTS = ['rolls', 'kills', 'thousand', 'away'];
/** Ways in which a release is broken; each is seen by a canary of one zone or of all. */
const BROKEN = {
  throws: "throw new Error('broken on purpose');",
  'fails-check': 'health = 503;',
  'errors-in-b': "if (process.env.ZONE === 'b') status = 500;",
  // Nothing comes to a process that stands still: what it has then is what ends when it is killed.
  hangs: 'setTimeout(() => { noteEnds(); for (;;); }, 300);',
  // In its probation, under load.
  'exits-in-a': "if (process.env.ZONE === 'a') served = () => setTimeout(() => process.exit(9), 400);",
};

/** What clients see of a process that ends on purpose. */
const ENDED = ['reset', 'closed-while-idle', 'closed-before-response', 'truncated'];

const root = fileURLToPath(new URL('..', import.meta.url));
const { values } = parseArgs({
  options: {
    part: { type: 'string', multiple: true, default: PARTS },
    rolls: { type: 'string', default: '20' },
    'first-roll': { type: 'string', default: '1' },
    hosts: { type: 'string', default: '10' },
    seed: { type: 'string', default: String(Math.floor(1 + Math.random() * 9998)) },
    sizes: { type: 'string', default: '250,500,1000' },
    away: { type: 'string', default: '600' },
    built: { type: 'boolean', default: false },
  },
});
expectOneOf('--part', values.part, PARTS);
const rollCount = numberOf('--rolls', values.rolls);
const firstRoll = numberOf('--first-roll', values['first-roll']) - 1;
const hostCount = numberOf('--hosts', values.hosts);
const seed = numberOf('--seed', values.seed);
const awayS = numberOf('--away', values.away);
const sizes = values.sizes.split(',').map((one) => numberOf('--sizes', one));
if (!values.built) {
  execFileSync(process.execPath, [path.join(root, 'scripts/build.mjs')], {
    cwd: root,
    stdio: ['ignore', 2, 2],
  });
}
const { startLoad } = await import('../dist/verify/load.js');

let problems = 0;
for (const part of values.part) {
  if (part === 'thousand')
    await withCluster(async (cluster) => {
      for (const one of await thousand(cluster, say, sizes)) wrong(one);
    });
  else await withHosts(part === 'rolls' ? rolls : part === 'kills' ? kills : away);
}
say(problems === 0 ? 'all as promised' : `${problems} not as promised`);
process.exitCode = problems === 0 ? 0 : 1;

async function withCluster(work) {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'moult-fleet-'));
  const cluster = await startCluster(folder);
  try {
    await work(cluster, folder);
  } finally {
    await cluster.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

async function withHosts(work) {
  await withCluster(async (cluster, folder) => {
    writeReleases(folder, {
      1: '',
      ...Object.fromEntries(Array.from({ length: firstRoll + rollCount }, (_, n) => [`good-${n}`, ''])),
      ...BROKEN,
    });
    const hosts = [];
    const proxies = [];
    try {
      for (let n = 1; n <= hostCount; n += 1) {
        const proxy = await startProxy(cluster.ports);
        proxies.push(proxy);
        const options = [
          '--probation',
          '1s',
          '--check',
          '/healthz',
          '--check-retries',
          '0',
          '--hang-timeout',
          '2s',
        ];
        const host = new Host(folder, `web-${n}`, n % 2 === 0 ? 'b' : 'a', [proxy.url], options);
        host.proxy = proxy;
        hosts.push(host);
        await host.start();
      }
      await allJoined(cluster, hosts);
      await work({ cluster, hosts });
      oneLeaderEach(hosts);
    } finally {
      for (const host of hosts) await host.stop().catch(() => {});
      for (const proxy of proxies) await proxy.close();
    }
  });
}

async function allJoined({ urls }, hosts) {
  await until(`${hosts.length} hosts have joined`, async () => {
    const { stdout } = await fleet(urls, ['status', 'api', '--json']);
    const all = stdout === '' ? [] : (JSON.parse(stdout).services?.[0]?.hosts ?? []);
    return all.filter(({ state }) => state === 'serving').length === hosts.length;
  });
}

async function rolls({ cluster, hosts }) {
  const loads = hosts.map(({ port }) =>
    startLoad({
      target: { host: '127.0.0.1', port },
      clients: { 'kept-alive': 3, 'new-connection': 1 },
      thinkMs: 50,
      requestTimeoutMs: 30_000,
    }),
  );
  /** When each load began, by the monotonic clock of this machine. */
  const beganAtMs = loads.map((load) => Number(process.hrtime.bigint()) / 1e6 - load.nowMs());
  const ways = Object.keys(BROKEN).concat('undeployable');
  let now = '1';
  for (let n = firstRoll; n < firstRoll + rollCount; n += 1) {
    const isBroken = n % 3 === 2;
    const release = isBroken ? ways[Math.floor(n / 3) % ways.length] : `good-${n}`;
    const before = hosts.map((host) => host.obeyed().length);
    const beganMs = performance.now();
    const args = [
      'restart',
      'api',
      '--release',
      release,
      '--canary',
      'each:zone',
      '--watch-for',
      '8s',
      '--json',
    ];
    const { code, stdout, stderr } = await fleet(cluster.urls, [
      ...args,
      '--wave',
      '40%',
      '--max-unavailable',
      '4',
    ]);
    const told = hosts.filter((host, at) => host.obeyed().length > (before[at] ?? 0)).length;
    const answers = await Promise.all(hosts.map((host) => host.answer()));
    if (!isBroken && code === 0) now = release;
    if (isBroken === (code === 0))
      wrong(`roll ${n + 1} of ${release} ended with ${code}: ${stderr}${stdout}`);
    if (isBroken && told > 2) wrong(`roll ${n + 1} of ${release} got to ${told} hosts`);
    if (answers.some((one) => one !== now)) wrong(`after roll ${n + 1} of ${release}: ${answers.join(' ')}`);
    const error = stderr === '' ? lastError(stdout) : stderr.split('\n')[0];
    say(
      `roll ${n + 1} ${release.padEnd(14)} ${seconds(beganMs)}, ${told} hosts told${isBroken ? `; ${error}` : ''}`,
    );
  }
  const reports = await Promise.all(loads.map((load) => load.stop(5000)));
  const sum = (of) => reports.reduce((all, { total }) => all + of(total), 0);
  const [requests, failed, lost, duplicated] = [
    sum((one) => one.requests),
    sum((one) => one.failed),
    sum((one) => one.lost),
    sum((one) => one.duplicated),
  ];
  say(`load: ${requests} requests, ${failed} failed, ${lost} lost, ${duplicated} came twice`);
  // A failure is on purpose only where a process that was broken so has written itself that it did it.
  const explained = {};
  const strange = reports.flatMap(({ failures }, at) => {
    const { name, zone } = hosts[at];
    const noted = hosts[at].noted();
    return failures.flatMap((one) => {
      const atMs = one.atMs + beganAtMs[at];
      const doer = doerOf(one, atMs, noted);
      if (doer === undefined || !isOnPurpose(doer, zone)) {
        const had = noted.filter(({ of }) => of === String(one.localPort)).slice(-3);
        return [{ name, ...one, atMs, doer, had }];
      }
      const what = `${doer.release}: ${one.what}, ${one.reason}`;
      explained[what] ??= { times: 0, processes: new Set() };
      explained[what].times += 1;
      explained[what].processes.add(`${name} ${doer.pid}`);
      return [];
    });
  });
  const counted = Object.values(explained).reduce((all, { times }) => all + times, 0);
  say(`of these by processes that were broken on purpose, as each wrote itself: ${counted}`);
  for (const [what, { times, processes }] of Object.entries(explained))
    say(`  ${what}: ${times}, by ${[...processes].map((one) => `process ${one}`).join(', ')}`);
  for (const one of strange.slice(0, 5)) wrong(`a request failed: ${JSON.stringify(one)}`);
  if (counted + strange.length < failed + lost)
    wrong(`${failed + lost} failures, and the list of them has ${counted + strange.length}`);
  if (duplicated > 0) wrong(`${duplicated} answers came twice`);
}

/** Which process gave an answer that failed, or had a connection when it ended, as it wrote itself; undefined if none did. */
function doerOf({ reason, id, localPort }, atMs, noted) {
  if (reason === 'status-5xx') return noted.find((one) => one.what === 'answers' && one.of === id);
  if (!ENDED.includes(reason)) return undefined;
  // The kernel gives a port again: what came after the end was another connection.
  const last = noted.findLast((one) => one.of === String(localPort) && one.atMs <= atMs);
  return last?.what === 'ends' ? last : undefined;
}

function isOnPurpose({ what, release }, zone) {
  if (what === 'answers') return release === 'errors-in-b' && zone === 'b';
  return release === 'hangs' || (release === 'exits-in-a' && zone === 'a');
}

async function kills({ cluster, hosts }) {
  const random = randomOf(seed);
  const pick = (all) => all[Math.floor(random() * all.length)];
  say(`seed ${seed}`);
  const failures = [];
  const down = new Set();
  let isAsking = true;
  let [asked, refused] = [0, 0];
  const asking = Promise.all(
    hosts.map(async (host) => {
      while (isAsking) {
        const answer = await host.answer().catch((error) => `failed: ${error.message}`);
        if (!/^(failed|status)/.test(answer)) {
          asked += 1;
          if (host.isBack) down.delete(host);
        } else if (down.has(host)) refused += 1;
        else failures.push(`${host.name}: ${answer}`);
        await pause(20);
      }
    }),
  );
  /** A host that has been told to restart by this roll, a moment ago. */
  const restarting = async ({ serial, isOver }) => {
    const told = () => hosts.filter(isToldBy(serial));
    const before = 1 + Math.floor(random() * 3);
    const delayMs = random() * 2500;
    while (told().length < before && !isOver()) await pause(50);
    const host = told().at(Math.floor(random() * before));
    await pause(delayMs);
    return host ?? pick(hosts);
  };
  const faults = {
    "the leader's agent": async () => {
      const leader = leaderOf(hosts);
      kill(leader?.agentPid());
    },
    "the operator's command": async ({ operator }) => kill(operator.pid),
    'a server': async () => {
      const server = pick(cluster.servers);
      await server.stop('SIGKILL');
      await pause(1000 + random() * 4000);
      await server.start();
    },
    'a supervisor': async (roll) => {
      const host = await restarting(roll);
      const exited = new Promise((resolve) => host.child.once('exit', resolve));
      kill(host.child.pid);
      await exited;
      await pause(random() * 1000);
      await host.start();
    },
    'a whole host': async (roll) => {
      const host = await restarting(roll);
      host.isBack = false;
      down.add(host);
      await host.killAll();
      await pause(random() * 1000);
      await host.start();
      host.isBack = true;
    },
    'all agents': async () => {
      for (const host of hosts) kill(host.agentPid());
    },
    'a partition': async () => {
      const host = pick(hosts);
      host.proxy.cut();
      await pause(5000 + random() * 25_000);
      host.proxy.heal();
    },
    'an undo': async () => {
      await fleet(cluster.urls, ['undo', 'api', '--no-wait']);
    },
    'an abort': async () => {
      await fleet(cluster.urls, ['abort', 'api', '--no-wait']);
    },
    'a pause': async () => {
      await fleet(cluster.urls, ['pause', 'api']);
      await pause(random() * 3000);
      await fleet(cluster.urls, ['resume', 'api']);
    },
  };
  const names = Object.keys(faults);
  // From here on each host knows which release it has, and what it had before.
  const { code } = await fleet(cluster.urls, [
    'restart',
    'api',
    '--release',
    '1',
    '--watch-for',
    '0',
    '--json',
  ]);
  if (code !== 0) wrong(`the first roll ended with ${code}`);
  for (let n = firstRoll; n < firstRoll + rollCount; n += 1) {
    const release = n % 4 === 3 ? 'throws' : `good-${n}`;
    const before = await Promise.all(hosts.map((host) => host.answer()));
    const serialBefore = (await rollNow(cluster))?.serial ?? 0;
    const beganMs = performance.now();
    let operator;
    const args = ['restart', 'api', '--release', release, '--watch-for', '2s', '--wave', '2', '--json'];
    const waits = ['--host-timeout', '30s', '--max-unavailable', '2'];
    const running = fleet(cluster.urls, [...args, ...waits], (child) => {
      operator = child;
    });
    const [first, ...others] = [...names.slice(n % names.length), ...names.slice(0, n % names.length)];
    const chosen = [first, ...(random() < 0.5 ? [pick(others)] : [])];
    const serial = serialBefore + 1;
    let hasExited = false;
    const exited = running.then(() => {
      hasExited = true;
    });
    const isOver = () => hasExited;
    const striking = chosen.map(async (name) => {
      const waitMs = random() * 8000;
      // The roll is led then, or its operator has given up.
      while (name !== "the operator's command" && !hosts.some(isToldBy(serial)) && !isOver()) await pause(50);
      await pause(name === "the operator's command" ? 1000 + waitMs : waitMs);
      await faults[name]({ operator, serial, isOver });
    });
    await Promise.all([...striking, exited]);
    const { stderr } = await running;
    const end = await until(`roll ${n + 1} has ended`, async () => {
      const roll = await rollNow(cluster);
      return ['done', 'undone', 'stopped'].includes(roll?.phase) && roll.asked === null && roll;
    }).catch((error) => wrong(`${error.message} ${stderr}`));
    if (end === undefined) break;
    await allJoined(cluster, hosts);
    if (end.serial === serialBefore) {
      const after = await Promise.all(hosts.map((host) => host.answer()));
      if (after.join() !== before.join()) wrong(`roll ${n + 1} never began: ${after}, before ${before}`);
      say(`roll ${n + 1} ${release}: its operator was killed before it began`);
      continue;
    }
    // Who was silent learns what was decided, and does it.
    const left = await settled(cluster, hosts, end, before, release);
    if (left !== undefined) wrong(`roll ${n + 1} of ${release} (${chosen}): ${left}`);
    const states = Object.entries(end.hosts).map(([host, { state }]) => `${host} ${state}`);
    say(
      `roll ${n + 1} ${release.padEnd(8)} ${seconds(beganMs)}: ${chosen.join(', ')}: ${end.phase}, epoch ${end.epoch}${end.reason ? `: ${end.reason.slice(0, 90)}` : ''}; ${states.join(', ')}`,
    );
  }
  isAsking = false;
  await asking;
  say(
    `load: ${asked} answered, ${refused} not, by hosts whose processes were all killed, ${failures.length} failed`,
  );
  for (const one of failures.slice(0, 5)) wrong(one);
  for (const host of hosts) {
    const told = host.obeyed();
    const isBack = told.some(({ serial, epoch }, at) => {
      const last = told[at - 1];
      return last !== undefined && (serial < last.serial || epoch < last.epoch);
    });
    if (isBack) wrong(`${host.name} obeyed an older leader: ${JSON.stringify(told)}`);
    const once = new Set(told.map(({ action, serial }) => `${action} ${serial}`));
    if (once.size < told.length) wrong(`${host.name} obeyed twice: ${JSON.stringify(told)}`);
  }
}

function isToldBy(serial) {
  return (host) => host.obeyed().some((one) => one.serial === serial);
}

/** Waits until each host runs what was decided for it. @returns what is wrong after a while. */
async function settled(cluster, hosts, end, before, release) {
  let wrong = '';
  const isRight = async () => {
    const { stdout } = await fleet(cluster.urls, ['status', 'api', '--json']);
    const all = JSON.parse(stdout).services?.[0]?.hosts ?? [];
    const answers = await Promise.all(hosts.map((host) => host.answer()));
    wrong = hosts
      .flatMap((host, at) => {
        const state = end.hosts[host.name]?.state;
        const obeyed = all.find((one) => one.host === host.name)?.record?.obeyed;
        const outcome = obeyed?.serial === end.serial ? obeyed.outcome : undefined;
        const isNew =
          state === 'confirmed' ||
          state === 'undo-failed' ||
          (state === 'unknown' && outcome === 'succeeded');
        const isOpen = state === 'unknown' && (outcome === undefined || outcome === 'running');
        const isOpenUndo =
          state === 'undo-unknown' && outcome !== 'taken-back' && outcome !== 'not-taken-back';
        if (isOpen || isOpenUndo) return `${host.name} has not learned what was decided`;
        if (isNew ? answers[at] === release : answers[at] === before[at]) return [];
        return `${host.name} is ${state} (${outcome}) and answers ${answers[at]}, before ${before[at]}`;
      })
      .join('; ');
    return wrong === '';
  };
  await until('all have what was decided', isRight, 60_000).catch(() => {});
  return wrong === '' ? undefined : wrong;
}

async function away({ cluster, hosts }) {
  const memory = () => hosts.map((host) => rssOf(host.agentPid()));
  await pause(5000);
  const before = memory();
  say(`agents have ${before.map(mib).join(', ')} MiB`);
  let isAsking = true;
  let [asked, failed] = [0, 0];
  const asking = Promise.all(
    hosts.map(async (host) => {
      while (isAsking) {
        await host.answer().then(
          () => (asked += 1),
          () => (failed += 1),
        );
        await pause(20);
      }
    }),
  );
  await cluster.stop();
  const pids = hosts.map((host) => host.agentPid());
  for (let s = 0; s < awayS; s += 60) {
    await pause(Math.min(60, awayS - s) * 1000);
    say(`away for ${Math.min(awayS, s + 60)} s: ${memory().map(mib).join(', ')} MiB`);
  }
  const after = memory();
  await Promise.all(cluster.servers.map((one) => one.start()));
  const beganMs = performance.now();
  await allJoined(cluster, hosts);
  say(`all have joined again ${seconds(beganMs)} after the servers were back`);
  isAsking = false;
  await asking;
  say(`load: ${asked} answered, ${failed} failed`);
  if (failed > 0) wrong(`${failed} requests failed while the servers were away`);
  if (hosts.some((host, at) => host.agentPid() !== pids[at])) wrong('an agent was started again');
  const most = Math.max(...after.map((one, at) => one - before[at]));
  if (most > 20 * 2 ** 20) wrong(`an agent has grown by ${mib(most)} MiB`);
}

async function rollNow({ urls }) {
  const { stdout } = await fleet(urls, ['status', 'api', '--json']);
  return stdout === '' ? undefined : JSON.parse(stdout).services?.[0]?.roll;
}

// Each leader has an epoch of its own, by what all agents have said.
function oneLeaderEach(hosts) {
  const epochs = hosts.flatMap((host) =>
    [...host.said().matchAll(/leads the roll of api, epoch (\d+)/g)].map(([, epoch]) => Number(epoch)),
  );
  const twice = epochs.filter((one, at) => epochs.indexOf(one) < at);
  say(`${epochs.length} times an agent began to lead, ${twice.length} of them with the epoch of another`);
  if (twice.length > 0) wrong(`two leaders had the epochs ${twice.join(', ')}`);
}

function leaderOf(hosts) {
  const last = (host) =>
    Number([...host.said().matchAll(/leads the roll of api, epoch (\d+)/g)].at(-1)?.[1] ?? 0);
  return hosts.reduce((most, host) => (last(host) > last(most) ? host : most));
}

function kill(pid) {
  try {
    if (pid > 1) process.kill(pid, 'SIGKILL');
  } catch {
    // It has just ended.
  }
}

function rssOf(pid) {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024;
}

function mib(bytes) {
  return (bytes / 2 ** 20).toFixed(1);
}

async function until(what, condition, boundMs = 180_000) {
  for (const giveUpAtMs = performance.now() + boundMs; ; await pause(500)) {
    const value = await condition();
    if (value) return value;
    if (performance.now() > giveUpAtMs) throw new Error(`waited ${boundMs / 1000} s until ${what}`);
  }
}

function lastError(stdout) {
  const line = stdout.trim().split('\n').at(-1);
  return JSON.parse(line).error?.message ?? '';
}

function seconds(sinceMs) {
  return `${((performance.now() - sinceMs) / 1000).toFixed(1)} s`;
}

// Source: mulberry32, public domain.
function randomOf(start) {
  let state = start;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Said at once: whoever stops a run knows what was wrong until then. */
function wrong(text) {
  problems += 1;
  say(`NOT AS PROMISED: ${text}`);
}

function say(text) {
  process.stdout.write(`${text}\n`);
}
