// `node proofs/tls.mjs`: what `moult run --tls move` rests on, for every supported Node (installed from npm into
// build/nodes). Exit status 1 if anything was wrong.
//
//   search   so many fresh processes, some at once, find the places of TLS states: right or refused
//   cuts     connections move at every cut of a record, captures are undone, either side is killed at each step
//   clients  curl, openssl s_client with key updates, GnuTLS with new keys, Python, Go and Java keep one connection over restarts
//   chain    the same while each restart brings another Node: that of --node, the next one, and round again
//   held     over such a chain: at every byte of a record some client stops, until the restart is over
//   kills    either side is killed at any moment of a restart: connections may end, nobody gets a wrong byte
//
// In all but the first, each record that is sealed is noted, by OpenSSL too, by processes that are killed too: none may be sealed twice.
//
//   node proofs/tls.mjs --node 22 --part search --starts 1000 --at-once 4
import { execFile, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { expectOneOf, installNode, numberOf, VERSIONS } from './nodes.mjs';
import { clientNames, startClient } from './tls/clients.mjs';
import { CuttingClient, REQUEST_RECORD_BYTES } from './tls/cutting-client.mjs';
import { sealedIn, sealedInto } from './tls/sealed.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const PARTS = { search, cuts, clients, chain, held, kills };
const { values } = parseArgs({
  options: {
    node: { type: 'string', multiple: true, default: Object.keys(VERSIONS) },
    part: { type: 'string', multiple: true, default: Object.keys(PARTS) },
    starts: { type: 'string', default: '100' },
    'at-once': { type: 'string', default: '1' },
    restarts: { type: 'string', default: '10' },
    client: { type: 'string', multiple: true, default: clientNames },
  },
});
expectOneOf('--node', values.node, Object.keys(VERSIONS));
expectOneOf('--part', values.part, Object.keys(PARTS));
expectOneOf('--client', values.client, clientNames);
execFileSync(process.execPath, [path.join(root, 'scripts/build.mjs')], {
  cwd: root,
  stdio: ['ignore', 2, 2],
});
const TELLS_PID = 'data:text/javascript,console.log("pid",process.pid)';
const TELLS_VERSION = 'data:text/javascript,console.log("runs on",process.version)';
let bad = 0;
for (const version of values.node) {
  const node = installNode(VERSIONS[version]);
  for (const part of values.part) {
    const problems = await PARTS[part](node, (text) => say(`Node ${VERSIONS[version]} ${part}: ${text}`));
    for (const problem of problems) say(`    ${problem}`);
    bad += problems.length;
  }
}
say(bad === 0 ? 'all as promised' : `${bad} not as promised`);
process.exitCode = bad === 0 ? 0 : 1;

/** Fresh processes find the places; each is checked against further connections by the self-test itself. */
async function search(node, report) {
  const starts = numberOf('--starts', values.starts);
  const atOnce = numberOf('--at-once', values['at-once'], 64);
  const script = path.join(root, 'test/fixtures/tls-self-test.mjs');
  const said = new Map();
  const times = [];
  const problems = [];
  let next = 0;
  const searching = Array.from({ length: atOnce }, async () => {
    for (let i = next++; i < starts; i = next++) {
      // Every other one with a heap that others have used before it.
      const args = i % 2 === 0 ? [script] : [script, 'used'];
      const result = await promisify(execFile)(node, args, { timeout: 60_000 }).catch((error) => ({
        stdout: '',
        error,
      }));
      if (result.stdout === '') {
        problems.push(`start ${i} ended without a word: ${result.error}`);
        continue;
      }
      const one = JSON.parse(result.stdout);
      said.set(one.said, (said.get(one.said) ?? 0) + 1);
      times.push(one.ms);
      if (one.said.includes('was not what is known') || one.said.includes('something else'))
        problems.push(one.said);
    }
  });
  await Promise.all(searching);
  times.sort((a, b) => a - b);
  const told = [...said].map(([what, count]) => `${count} times ${JSON.stringify(what)}`).join(', ');
  report(
    `${starts} starts: ${told}; CPU ms: median ${times[times.length >> 1]?.toFixed(0)}, most ${times.at(-1)?.toFixed(0)}`,
  );
  return problems;
}

/** The tests of cuts, undone captures and kills, on that Node. */
async function cuts(node, report) {
  execFileSync(process.execPath, [path.join(root, 'node_modules/typescript/bin/tsc'), '-p', 'test'], {
    cwd: root,
    stdio: ['ignore', 2, 2],
  });
  const files = ['tls.test.js', 'carried-tls.test.js', 'tls-kills.test.js'].map((file) =>
    path.join(root, 'build/test/connections/moving', file),
  );
  const preload = path.join(root, 'build/test/support/watch.js');
  const folder = mkdtempSync(path.join(tmpdir(), 'moult-tls-sealed-'));
  const noting = sealedInto(folder);
  const child = spawn(node, ['--test', '--test-reporter=tap', '--import', preload, ...files], {
    cwd: root,
    env: {
      ...process.env,
      ...noting,
      FIXTURE_NODE_OPTIONS: noting.NODE_OPTIONS,
      PATH: `${path.dirname(node)}:${process.env.PATH}`,
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (chunk) => {
    text += chunk;
  });
  const code = await new Promise((resolve) => child.once('close', resolve));
  const lines = text.split('\n');
  const { told, twice } = noted(folder);
  rmSync(folder, { recursive: true });
  report(`${lines.filter((line) => /^# (pass|fail) /.test(line)).join(', ')}, ${told}`);
  return [...(code === 0 ? [] : lines.filter((line) => /not ok|error:/.test(line))), ...twice];
}

/** What clients of other makers see of restarts: each asks on one connection, and says how often it was answered. */
async function clients(node, report) {
  return overRestarts([node], () => {}, report);
}

/** The same, over a chain of versions. */
async function chain(node, report) {
  return overVersions(node, (command, bring) => overRestarts(command, bring, report));
}

/** @param work gets the command of a Node, and what brings the next one. */
async function overVersions(node, work) {
  const all = Object.keys(VERSIONS).map((version) => installNode(VERSIONS[version]));
  const first = all.indexOf(node);
  const folder = mkdtempSync(path.join(tmpdir(), 'moult-tls-chain-'));
  const link = path.join(folder, 'node');
  symlinkSync(node, link);
  const bring = (restart) => {
    symlinkSync(all[(first + restart) % all.length], `${link}.new`);
    renameSync(`${link}.new`, link);
  };
  try {
    return await work([link, '--import', TELLS_VERSION], bring);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** @param bring is called before each restart, with its number. */
async function overRestarts(command, bring, report) {
  const restarts = numberOf('--restarts', values.restarts);
  const { startUnderMoult } = await import('../dist/verify/moult/under-moult.js');
  const fixtures = path.join(root, 'test/fixtures');
  const problems = [];
  const folder = mkdtempSync(path.join(tmpdir(), 'moult-tls-sealed-'));
  const versions = [];
  const service = await startUnderMoult({
    command: [...command, path.join(fixtures, 'services/https.mjs')],
    runOptions: ['--tls', 'move', '--probation', '200ms'],
    env: { PORT: '0', CERTIFICATE: fixtures, ...sealedInto(folder) },
    onOutput: (text) =>
      versions.push(...[...text.matchAll(/^runs on (\S+)/gm)].map(([, version]) => version)),
  });
  try {
    const { port } = service.target;
    const running = values.client.map((name) => startClient(name, port));
    for (const client of running) await client.answered(5);
    let moved = 0;
    for (let i = 0; i < restarts; i++) {
      bring(i + 1);
      const outcome = await service.restart();
      if (!outcome.ok) problems.push(`restart ${i + 1}: ${JSON.stringify(outcome.error)}`);
      moved += outcome.summary?.moved ?? 0;
      for (const client of running) await client.answered(40).catch((error) => problems.push(String(error)));
    }
    for (const client of running) {
      const { name, answers, connections, errors, updated, longestMs, isDialing } = await client.stop();
      const keys = updated === undefined ? '' : `, ${updated} updates of keys`;
      report(
        `${name}: ${answers} answers, ${connections} connection${connections === 1 ? '' : 's'}${keys}, longest wait ${longestMs.toFixed(0)} ms`,
      );
      // One that dials has asked once on each, and perhaps not yet on the last.
      const isRight = isDialing ? connections - answers <= 1 : connections === 1;
      if (!isRight || errors !== '') problems.push(`${name}: ${connections} connections ${errors}`);
    }
    const { told, twice } = noted(folder);
    problems.push(...twice);
    const on = versions.length === 0 ? '' : ` on ${versions.join(', ')}`;
    report(`${restarts} restarts${on}, ${moved} moved, ${told}`);
    const staying = running.filter(({ isDialing }) => !isDialing).length;
    if (moved < restarts * staying) problems.push(`${moved} moved, expected ${restarts * staying}`);
  } finally {
    await service.stop();
    rmSync(folder, { recursive: true });
  }
  return problems;
}

/** Clients that stop at every byte of a record while a restart goes on; half of them are new each time. */
async function held(node, report) {
  const restarts = numberOf('--restarts', values.restarts);
  return overVersions(node, (command, bring) =>
    withHttps(command, async (around) => {
      const { service, folder } = around;
      const problems = [];
      const { port } = service.target;
      const open = (id) => new CuttingClient(id, port).open();
      const count = REQUEST_RECORD_BYTES + 1;
      const clients = await Promise.all(Array.from({ length: count }, (_, id) => open(id)));
      let [moved, answered] = [0, count];
      for (let i = 1; i <= restarts; i++) {
        bring(i);
        const cut = clients.map((client, n) => client.ask((n + 7 * i) % count));
        for (const one of cut) one.catch((error) => problems.push(`restart ${i}: ${error.message}`));
        const outcome = await service.restart();
        if (!outcome.ok) problems.push(`restart ${i}: ${JSON.stringify(outcome.error)}`);
        moved += outcome.summary?.moved ?? 0;
        await pause(300);
        for (const client of clients) client.goOn();
        await within(cut);
        await within(clients.map((client) => client.ask())).catch((error) => problems.push(error.message));
        answered += 2 * count;
        if (problems.length > 0) break;
        for (let id = i % 2; id < count; id += 2) {
          clients[id].close();
          clients[id] = await open(id);
        }
      }
      for (const client of clients) client.close();
      await service.stop();
      const { told, twice } = noted(folder);
      const on = [...around.said.matchAll(/^runs on (\S+)/gm)].map(([, version]) => version).join(', ');
      report(
        `${restarts} restarts on ${on}: ${count} clients, cut at each of 0 to ${REQUEST_RECORD_BYTES} bytes; ${answered} answers, ${moved} moved at once, ${told}`,
      );
      return [...problems.slice(0, 5), ...twice];
    }),
  );
}

/** Kills one side of each restart at any moment of it. */
async function kills(node, report) {
  const restarts = numberOf('--restarts', values.restarts);
  return withHttps([node, '--import', TELLS_PID], async (around) => {
    const { service, folder } = around;
    const { port } = service.target;
    const problems = [];
    const counts = { answers: 0, closed: 0 };
    let isOver = false;
    const clients = Array.from({ length: 30 }, async (_, id) => {
      let client;
      while (!isOver) {
        try {
          client ??= await new CuttingClient(id, port).open();
          await client.ask();
          counts.answers += 1;
          await pause(5);
        } catch (error) {
          // Whoever is with a process that is killed loses the connection; nobody is answered wrongly.
          if (/was answered for|JSON|alert|SSL/.test(error.message)) problems.push(error.message);
          counts.closed += 1;
          client?.close();
          client = undefined;
          await pause(20);
        }
      }
      client?.close();
    });
    const pids = () => [...around.said.matchAll(/^pid (\d+)/gm)].map(([, pid]) => Number(pid));
    const killed = { predecessor: 0, successor: 0 };
    // How long a restart goes on behind the first words of its successor: nobody is killed in the first one.
    let tookMs = 0;
    for (let i = 0; i <= restarts; i++) {
      await pause(500);
      const before = pids();
      let hasEnded = false;
      const restarted = service.restart().finally(() => {
        hasEnded = true;
      });
      while (pids().length === before.length && !hasEnded) await pause(2);
      if (pids().length === before.length) continue;
      const beganMs = performance.now();
      if (i === 0) {
        await restarted;
        tookMs = performance.now() - beganMs;
        continue;
      }
      await pause(Math.random() * tookMs);
      const who = i % 2 === 0 ? 'predecessor' : 'successor';
      const pid = who === 'predecessor' ? before.findLast(isAlive) : pids().at(-1);
      if (isAlive(pid)) {
        process.kill(pid, 'SIGKILL');
        killed[who] += 1;
      }
      await restarted;
    }
    await pause(500);
    isOver = true;
    await Promise.all(clients);
    await service.stop();
    const { told, twice } = noted(folder);
    report(
      `${restarts + 1} restarts, ${killed.predecessor} times the predecessor was killed and ${killed.successor} times the successor; ${counts.answers} answers, ${counts.closed} connections ended; ${told}`,
    );
    if (killed.predecessor === 0 || killed.successor === 0) problems.push('one side was never killed');
    return [...problems.slice(0, 5), ...twice];
  });
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** A service over TLS that notes what it seals. @param work gets it, and what has been said: by its service, so far. */
async function withHttps(command, work) {
  const { startUnderMoult } = await import('../dist/verify/moult/under-moult.js');
  const fixtures = path.join(root, 'test/fixtures');
  const folder = mkdtempSync(path.join(tmpdir(), 'moult-tls-sealed-'));
  const around = { folder, said: '' };
  around.service = await startUnderMoult({
    command: [...command, path.join(fixtures, 'services/https.mjs')],
    runOptions: ['--tls', 'move', '--probation', '200ms'],
    env: { PORT: '0', CERTIFICATE: fixtures, ...sealedInto(folder) },
    onOutput: (text) => {
      around.said += text;
    },
  });
  try {
    return await work(around);
  } finally {
    await around.service.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** What was noted in a folder: in words, and the first that came twice. */
function noted(folder) {
  const { records, native, handedOver, processes, twice } = sealedIn(folder);
  const told = `${records} records sealed by ${processes} processes, ${native} of them by OpenSSL, ${handedOver} keys by both, ${twice.length} twice`;
  const none = handedOver === 0 ? ['no key was used by OpenSSL, and then by moult'] : [];
  return { told, twice: [...twice.slice(0, 3), ...none] };
}

/** Waits for all, longer than anything takes. */
async function within(promises) {
  let timer;
  const late = new Promise((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error('no answer within a minute')), 60_000);
  });
  try {
    await Promise.race([Promise.allSettled(promises), late]);
    await Promise.all(promises);
  } finally {
    clearTimeout(timer);
  }
}

function say(text) {
  process.stdout.write(`${text}\n`);
}
