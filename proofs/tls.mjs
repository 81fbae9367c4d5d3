// `node proofs/tls.mjs`: what `moult run --tls move` rests on, for every supported Node (installed from npm into
// build/nodes). Exit status 1 if anything was wrong.
//
//   search   so many fresh processes, some with a busy neighbour, find the places of TLS states: right or refused
//   cuts     connections move at every cut of a record, captures are undone, either side is killed at each step
//   clients  curl, openssl s_client with key updates, Python, Go and Java keep one connection over restarts
//
//   node proofs/tls.mjs --node 22 --part search --starts 1000
import { execFile, execFileSync, spawn } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { expectOneOf, installNode, numberOf, VERSIONS } from './nodes.mjs';
import { clientNames, startClient } from './tls/clients.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const PARTS = { search, cuts, clients };
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
  const files = ['tls.test.js', 'tls-kills.test.js'].map((file) =>
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
  const restarts = numberOf('--restarts', values.restarts);
  const { startUnderMoult } = await import('../dist/verify/moult/under-moult.js');
  const fixtures = path.join(root, 'test/fixtures');
  const problems = [];
  const service = await startUnderMoult({
    command: [node, path.join(fixtures, 'services/https.mjs')],
    runOptions: ['--tls', 'move', '--probation', '200ms'],
    env: { PORT: '0', CERTIFICATE: fixtures },
  });
  try {
    const { port } = service.target;
    const running = values.client.map((name) => startClient(name, port));
    for (const client of running) await client.answered(5);
    let moved = 0;
    for (let i = 0; i < restarts; i++) {
      const outcome = await service.restart();
      if (!outcome.ok) problems.push(`restart ${i + 1}: ${JSON.stringify(outcome.error)}`);
      moved += outcome.summary?.moved ?? 0;
      for (const client of running) await client.answered(20).catch((error) => problems.push(String(error)));
    }
    for (const client of running) {
      const { name, answers, connections, errors, updated } = await client.stop();
      const keys = updated === undefined ? '' : `, ${updated} updates of keys`;
      report(`${name}: ${answers} answers, ${connections} connection${connections === 1 ? '' : 's'}${keys}`);
      if (connections !== 1 || errors !== '') problems.push(`${name}: ${connections} connections ${errors}`);
    }
    report(`${restarts} restarts, ${moved} moved`);
  } finally {
    await service.stop();
  }
  return problems;
}

function say(text) {
  process.stdout.write(`${text}\n`);
}
