// `node proofs/tls.mjs`: what `moult run --tls move` rests on, for every supported Node (installed from npm into
// build/nodes). Exit status 1 if anything was wrong.
//
//   search   so many fresh processes, some with a busy neighbour, find the places of TLS states: right or refused
//   cuts     connections move at every cut of a record, captures are undone, either side is killed at each step
//   clients  curl, openssl s_client with key updates, GnuTLS with new keys, Python, Go and Java keep one connection over restarts
//   chain    the same while each restart brings another Node: that of --node, the next one, and round again
//
//   node proofs/tls.mjs --node 22 --part search --starts 1000
import { execFile, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { expectOneOf, installNode, numberOf, VERSIONS } from './nodes.mjs';
import { clientNames, startClient } from './tls/clients.mjs';
import { sealedIn, sealedInto } from './tls/sealed.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const PARTS = { search, cuts, clients, chain };
const { values } = parseArgs({
  options: {
    node: { type: 'string', multiple: true, default: Object.keys(VERSIONS) },
    part: { type: 'string', multiple: true, default: Object.keys(PARTS) },
    starts: { type: 'string', default: '100' },
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
  const script = path.join(root, 'test/fixtures/tls-self-test.mjs');
  const said = new Map();
  const times = [];
  const problems = [];
  for (let i = 0; i < starts; i++) {
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
  const child = spawn(node, ['--test', '--test-reporter=tap', '--import', preload, ...files], {
    cwd: root,
    env: { ...process.env, PATH: `${path.dirname(node)}:${process.env.PATH}` },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (chunk) => {
    text += chunk;
  });
  const code = await new Promise((resolve) => child.once('close', resolve));
  const lines = text.split('\n');
  report(lines.filter((line) => /^# (pass|fail) /.test(line)).join(', '));
  return code === 0 ? [] : lines.filter((line) => /not ok|error:/.test(line));
}

/** What clients of other makers see of restarts: each asks on one connection, and says how often it was answered. */
async function clients(node, report) {
  return overRestarts([node], () => {}, report);
}

/** The same, over a chain of versions. */
async function chain(node, report) {
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
    return await overRestarts([link, '--import', TELLS_VERSION], bring, report);
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
      for (const client of running) await client.answered(20).catch((error) => problems.push(String(error)));
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
    const { records, processes, twice } = sealedIn(folder);
    problems.push(...twice.slice(0, 3));
    const on = versions.length === 0 ? '' : ` on ${versions.join(', ')}`;
    report(
      `${restarts} restarts${on}, ${moved} moved, ${records} records sealed by ${processes} processes, ${twice.length} twice`,
    );
    const staying = running.filter(({ isDialing }) => !isDialing).length;
    if (moved < restarts * staying) problems.push(`${moved} moved, expected ${restarts * staying}`);
  } finally {
    await service.stop();
    rmSync(folder, { recursive: true });
  }
  return problems;
}

function say(text) {
  process.stdout.write(`${text}\n`);
}
