// `node proofs/udp.mjs`: 1,000 numbered datagrams a second from 50 flows over twenty restarts in a row, on every
// supported Node, beside a control run of the same length without a restart. Exit status 1 if one was lost beyond
// what the kernel had no room for, or was answered twice, or was received by any but the serving generation. Then the same
// with a service whose flows are sessions of 30 datagrams: each must be whole, and of one generation.
//
//   node proofs/udp.mjs --node 22 --restarts 5 --per-second 2000 --flows 10
//
// One version takes about a minute. The clients run in this process, on this Node.
import process from 'node:process';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { build, say, tableOf } from './harness.mjs';
import { expectOneOf, installNode, numberOf, VERSIONS } from './nodes.mjs';

const { values } = parseArgs({
  options: {
    node: { type: 'string', multiple: true, default: Object.keys(VERSIONS) },
    restarts: { type: 'string', default: '20' },
    'per-second': { type: 'string', default: '1000' },
    flows: { type: 'string', default: '50' },
  },
});

/** Datagrams in a session of the service with flows. */
const PER_SESSION = 30;

/** Heading, width and content of each column; a negative width sets it to the left. */
const COLUMNS = [
  ['node', -8, ({ version }) => version],
  ['run', -8, ({ name }) => name],
  ['restarts', 8, ({ restarts }) => restarts],
  ['seconds', 7, ({ seconds }) => seconds.toFixed(1)],
  ['datagrams', 9, ({ report }) => report.sent],
  ['lost', 5, ({ report }) => report.lost.length],
  ['no room', 7, ({ report }) => report.dropped],
  ['twice', 5, ({ report }) => report.twice.length],
  ['answered by', 11, ({ report }) => report.by.size],
  ['longest ms', 10, ({ report }) => report.longestMs.toFixed(0)],
];

/** Ctrl-C ends the run under way, with everything that it started, and begins no other. */
const interrupted = new AbortController();
for (const name of ['SIGINT', 'SIGTERM']) process.on(name, () => interrupted.abort());

process.exitCode = await proveAll();

async function proveAll() {
  expectOneOf('--node', values.node, Object.keys(VERSIONS));
  const restarts = numberOf('--restarts', values.restarts);
  const rate = numberOf('--per-second', values['per-second']);
  const flows = numberOf('--flows', values.flows);
  build({ withTests: true });
  // What the integration tests use, too.
  const { DatagramStream } = await import('../build/test/integration/datagram-stream.js');
  const { Supervised, fixture } = await import('../build/test/integration/supervised.js');
  const { freeDatagramPort } = await import('../build/test/support/free-ports.js');
  say(`${rate} datagrams a second from ${flows} flows`);
  const table = tableOf(COLUMNS);
  table.head();
  let bad = 0;
  for (const version of values.node) {
    const node = installNode(VERSIONS[version]);
    const proven = await prove(node, 'udp.cjs', restarts);
    const control = await prove(node, 'udp.cjs', 0, proven.seconds);
    const sessions = await prove(node, 'udp-flows.mjs', restarts);
    if (interrupted.signal.aborted) return 1;
    for (const found of [control, proven, sessions]) {
      table.row({ version: VERSIONS[version], ...found });
      for (const problem of found.problems) say(`    ${problem}`);
      bad += found.problems.length;
    }
  }
  say(bad === 0 ? 'all as promised' : `${bad} not as promised`);
  return bad === 0 ? 0 : 1;

  /** So many restarts in a row, or where it is none, so many seconds. */
  async function prove(node, script, restarts, restSeconds = 0) {
    const port = await freeDatagramPort();
    const service = await Supervised.start({
      command: [fixture(script)],
      env: { UDP_PORT: String(port), PER_SESSION: String(PER_SESSION) },
      // Longer than a session; those that the clients leave off at the end are waited for no longer.
      runOptions: ['--probation', '50ms', '--drain-timeout', '5s'],
      node,
    });
    const hasSessions = script === 'udp-flows.mjs';
    const problems = [];
    let report;
    let seconds;
    try {
      const stream = await DatagramStream.start(port, rate, flows, PER_SESSION);
      const beganMs = performance.now();
      for (let n = 1; n <= restarts && !interrupted.signal.aborted; n += 1) {
        await service.restart('--wait=confirmed');
        const { pid } = await service.current();
        // Flows of those before go on with them.
        if (!hasSessions && stream.lastBy !== pid)
          problems.push(`restart ${n}: ${stream.lastBy} answers, not ${pid}`);
      }
      await pause(restSeconds * 1000, undefined, { signal: interrupted.signal }).catch(() => {});
      seconds = (performance.now() - beganMs) / 1000;
      report = await stream.stop();
    } finally {
      await service.stop();
    }
    const { sent, lost, dropped, twice, by, broken } = report;
    if (lost.length > dropped) problems.push(`lost, of ${sent}: ${lost.slice(0, 20)}`);
    if (twice.length > 0) problems.push(`answered twice: ${twice.slice(0, 20)}`);
    if (broken.length > 0) problems.push(`sessions that were not whole: ${broken.slice(0, 20)}`);
    // Sessions begin together, so a generation between two beginnings may have none.
    const isByEnough = hasSessions ? by.size > 1 : by.size === restarts + 1;
    if (!isByEnough) problems.push(`answered by ${by.size} processes in ${restarts} restarts`);
    const name = hasSessions ? 'sessions' : restarts > 0 ? 'restarts' : 'control';
    return { name, restarts, seconds, report, problems };
  }
}
