// `node scripts/long-lived.mjs`: the slow proof for connections that live long. Two hundred clients that send numbered
// messages both ways, over every supported Node, while the service is restarted twenty times: WebSockets (plain, in
// fragments, compressed with and without context takeover, half-written), Socket.IO with its own client (namespaces,
// rooms, acknowledgements, binary messages), and a line protocol over TCP. Prints a table; exit status 1 if a message
// was lost, doubled or out of order, or a connection was closed.
//
//   node scripts/long-lived.mjs --node 22 --service websockets --restarts 5 --clients 60
//
// --node and --service may be given again; --node takes a path as well. One combination takes about half a minute.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Talker } from './long-lived/talker.mjs';
import { transports } from './long-lived/transports.mjs';
import { installNode, VERSIONS } from './nodes.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const { values } = parseArgs({
  options: {
    node: { type: 'string', multiple: true, default: Object.keys(VERSIONS) },
    service: { type: 'string', multiple: true, default: Object.keys(transports) },
    restarts: { type: 'string', default: '20' },
    clients: { type: 'string', default: '200' },
    'think-ms': { type: 'string', default: '40' },
    /** The result as one line of JSON. */
    json: { type: 'boolean', default: false },
    one: { type: 'string' },
  },
});

if (values.one !== undefined)
  process.stdout.write(`${JSON.stringify(await proveOne(JSON.parse(values.one)))}\n`);
else process.exitCode = await proveAll();

async function proveAll() {
  const [restarts, clients, thinkMs] = [values.restarts, values.clients, values['think-ms']].map(Number);
  const found = [];
  for (const version of values.node) {
    const node = existsSync(version) ? version : installNode(VERSIONS[version]);
    for (const service of values.service) {
      const one = await inProcessOf(node, { service, restarts, clients, thinkMs });
      found.push(one);
      if (values.json) continue;
      const { answered, pushed, moved, longestMs, problems } = one;
      console.log(
        `${one.node ?? version} ${service}: ${restarts} restarts, ${clients} clients, ${answered} answers, ${pushed} pushes, ` +
          `${moved} moves, longest answer ${longestMs?.toFixed(0)} ms: ${problems.length === 0 ? 'nothing lost' : 'FAILED'}`,
      );
      for (const problem of problems) console.log(`    ${problem}`);
    }
  }
  if (values.json) console.log(JSON.stringify(found));
  return found.every(({ problems }) => problems.length === 0) ? 0 : 1;
}

/** Runs one combination in a process of that Node: supervisor, service and clients then all run on it. */
function inProcessOf(node, combination) {
  return new Promise((resolve) => {
    const child = spawn(node, [fileURLToPath(import.meta.url), '--one', JSON.stringify(combination)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (chunk) => {
      text += chunk;
    });
    child.once('close', (code, signal) => {
      try {
        resolve(JSON.parse(text));
      } catch {
        resolve({ problems: [`it ended without a result (${signal ?? code})`] });
      }
    });
  });
}

async function proveOne({ service: name, restarts, clients, thinkMs }) {
  const { startUnderMoult } = await import('../dist/verify/under-moult.js');
  let log = '';
  const service = await startUnderMoult({
    command: [path.join(root, `test/fixtures/services/${name}.mjs`)],
    runOptions: ['--probation', '500ms'],
    onOutput: (text) => {
      log = (log + text).slice(-10_000);
    },
  });
  const problems = [];
  const talkers = [];
  let moved = 0;
  try {
    const kinds = Object.entries(transports[name]);
    const running = Array.from({ length: clients }, (_, id) => {
      const [kind, make] = kinds[id % kinds.length];
      const talker = new Talker(id, kind, make, service.target.port, thinkMs);
      talkers.push(talker);
      return talker.run();
    });
    await pause(1000);
    for (let i = 1; i <= restarts; i += 1) {
      const outcome = await service.restart();
      if (!outcome.ok) problems.push(`restart ${i}: ${JSON.stringify(outcome.error)}`);
      moved += outcome.summary?.moved ?? 0;
      await pause(200);
    }
    await Promise.all(talkers.map((talker, i) => talker.finish(running[i])));
  } finally {
    await service.stop();
  }
  problems.push(...talkers.flatMap((talker) => talker.problems).slice(0, 10));
  if (problems.length > 0) problems.push(`the last output: ${log.slice(-3000)}`);
  if (/Warning|Error/.test(log)) problems.push(`the service complained: ${log.slice(-3000)}`);
  const sum = (of) => talkers.reduce((total, talker) => total + of(talker), 0);
  return {
    node: process.version,
    service: name,
    answered: sum(({ answered }) => answered),
    pushed: sum(({ pushed }) => pushed),
    moved,
    longestMs: Math.max(...talkers.map(({ longestMs }) => longestMs)),
    problems,
  };
}
