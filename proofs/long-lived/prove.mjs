import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { sealedIn, sealedInto } from '../tls/sealed.mjs';
import { Listener } from './listener.mjs';
import { streams } from './streams.mjs';
import { Subscriber, subscribers } from './subscriber.mjs';
import { Talker } from './talker.mjs';
import { transports } from './transports.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const fixtures = path.join(root, 'test/fixtures');

/** The services: what their clients are, in which ways they speak, and where it is not one of the fixtures its script. */
export const services = {
  ...Object.fromEntries(Object.entries(transports).map(([name, kinds]) => [name, { Client: Talker, kinds }])),
  events: { Client: Listener, kinds: streams },
  mqtt: { Client: Subscriber, kinds: subscribers, script: 'examples/aedes/server.mjs' },
};

/** Restarts one service under its clients, in this process. @returns what they met, as plain data. */
export async function proveOne(combination) {
  const folder = await mkdtemp(path.join(tmpdir(), 'moult-long-lived-'));
  try {
    return await proveIn(folder, combination);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function proveIn(folder, { service: name, restarts, clients: count, thinkMs, undone, secure }) {
  const { startUnderMoult } = await import('../../dist/verify/moult/under-moult.js');
  const { Client, kinds, script = `test/fixtures/services/${name}.mjs` } = services[name];
  const socketPath = path.join(folder, 'socket');
  const sealed = path.join(folder, 'sealed');
  const output = new Output();
  const service = await startUnderMoult({
    command: [path.join(root, script)],
    runOptions: ['--probation', undone ? '5s' : '500ms', ...(secure ? ['--tls', 'move'] : [])],
    env: {
      PORT: '0',
      SOCKET: socketPath,
      ...(secure ? { CERTIFICATE: fixtures, ...sealedInto(sealed) } : {}),
    },
    onOutput: (text) => output.add(text),
  });
  const problems = [];
  const clients = [];
  let moved = 0;
  try {
    const ways = Object.entries(kinds);
    const running = Array.from({ length: count }, (_, id) => {
      const [kind, make] = ways[id % ways.length];
      const target = { port: service.target.port, socketPath, isSecure: secure };
      const client = new Client(id, kind, make, target, thinkMs);
      clients.push(client);
      return client.run();
    });
    await pause(1000);
    for (let i = 1; i <= restarts; i += 1) {
      const outcome = await service.restart();
      if (!outcome.ok) problems.push(`restart ${i}: ${JSON.stringify(outcome.error)}`);
      moved += outcome.summary?.moved ?? 0;
      await pause(200);
      if (!undone || i % 3 !== 0) continue;
      const back = await service.rollback();
      if (!back.ok) problems.push(`undo of restart ${i}: ${back.said}`);
      await pause(200);
    }
    await Promise.all(clients.map((client, i) => client.finish(running[i])));
  } finally {
    await service.stop();
  }
  problems.push(...clients.flatMap((client) => client.problems).slice(0, 10));
  if (problems.length > 0) problems.push(`the last output: ${output.last.slice(-3000)}`);
  if (output.hasComplaint) problems.push(`the service complained: ${output.last.slice(-3000)}`);
  const { records, twice } = secure ? sealedIn(sealed) : { records: undefined, twice: [] };
  problems.push(...twice.slice(0, 3));
  if (records === 0) problems.push('no record of a moved connection was noted');
  const slowest = clients.reduce((one, other) => (other.longestMs > one.longestMs ? other : one));
  const sum = (of) => clients.reduce((total, client) => total + of(client), 0);
  return {
    node: process.version,
    service: name,
    answered: sum(({ answered }) => answered),
    pushed: sum(({ pushed }) => pushed),
    moved,
    inTheMiddle: output.inTheMiddle,
    sealed: records,
    longestMs: slowest.longestMs,
    longestKind: Object.keys(kinds)[clients.indexOf(slowest) % Object.keys(kinds).length],
    problems,
  };
}

/** What supervisor and service write. */
class Output {
  last = '';
  /** So many connections have moved in the middle of a message, as far as their service tells. */
  inTheMiddle = 0;
  hasComplaint = false;
  #line = '';

  add(text) {
    this.last = (this.last + text).slice(-10_000);
    const lines = (this.#line + text).split('\n');
    this.#line = lines.pop();
    for (const line of lines) {
      if (line === 'in the middle') this.inTheMiddle += 1;
      if (/Warning|Error/.test(line)) this.hasComplaint = true;
    }
  }
}
