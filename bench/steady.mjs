// What moult costs while nothing is restarted: the same service without it, a second time without it (how far two
// equal processes differ is the noise), and under `moult run`, loaded by turns.
import { cells, figure, ms, ratio, whole } from './measure/figures.mjs';
import { memoryBytes, program, startHelper, startListening, stopChild } from './measure/processes.mjs';
import { table } from './measure/table.mjs';
import { startUnderMoult } from './measure/under-moult.mjs';

const BLOCKS = 8;
const ROUNDS = 4;
const KINDS = /** @type {const} */ ([
  { kind: 'kept-alive', connections: 32, warmUpMs: 150, measureMs: 1500 },
  { kind: 'new', connections: 16, warmUpMs: 150, measureMs: 1000 },
]);
const SETTLE_MS = 1500;

/** @param {{ say(text: string): void, isQuick: boolean }} options */
export async function run({ say, isQuick }) {
  const blocks = isQuick ? 1 : BLOCKS;
  const rounds = isQuick ? 2 : ROUNDS;
  const load = startHelper('load.mjs');
  /** @type {Record<string, { rps: number[], cpu: number[], noiseRps: number[], noiseCpu: number[], plainRps: number[], plainCpuUs: number[], supervisorShare: number[] }>} */
  const found = Object.fromEntries(
    KINDS.map(({ kind }) => [
      kind,
      { rps: [], cpu: [], noiseRps: [], noiseCpu: [], plainRps: [], plainCpuUs: [], supervisorShare: [] },
    ]),
  );
  const memory = { plain: /** @type {number[]} */ ([]), service: [], supervisor: [], ratio: [] };
  try {
    for (let block = 0; block < blocks; block += 1) {
      say(`block ${block + 1} of ${blocks}: fresh processes, ${rounds} rounds`);
      await measureBlock(load, block, rounds, found, memory);
    }
  } finally {
    await load.stop();
  }

  const json = {
    rounds: blocks * rounds,
    blocks,
    kinds: Object.fromEntries(
      Object.entries(found).map(([kind, one]) => [
        kind,
        Object.fromEntries(Object.entries(one).map(([name, values]) => [name, figure(values)])),
      ]),
    ),
    memory: Object.fromEntries(Object.entries(memory).map(([name, values]) => [name, figure(values)])),
  };
  /** @type {(string | number)[][]} */
  const rows = [];
  for (const { kind } of KINDS) {
    const one = json.kinds[kind];
    const name = kind === 'new' ? 'new connections' : 'kept-alive requests';
    rows.push([`${name} a second, moult / plain`, ...cells(one.rps, ratio)]);
    rows.push(['  noise: plain / plain', ...cells(one.noiseRps, ratio)]);
    rows.push([`CPU a request (${name}), moult / plain`, ...cells(one.cpu, ratio)]);
    rows.push(['  noise: plain / plain', ...cells(one.noiseCpu, ratio)]);
    rows.push([`  plain, this machine: a second`, ...cells(one.plainRps, whole)]);
    rows.push([`  plain, this machine: CPU µs a request`, ...cells(one.plainCpuUs, ms)]);
    rows.push(['  supervisor CPU / service CPU', ...cells(one.supervisorShare, (v) => v.toFixed(4))]);
  }
  const mb = (/** @type {number} */ bytes) => (bytes / 1024 / 1024).toFixed(1);
  rows.push(['memory of the service, moult / plain', ...cells(json.memory.ratio, ratio)]);
  rows.push(['  plain, this machine: MB', ...cells(json.memory.plain, mb)]);
  rows.push(['  under moult, this machine: MB', ...cells(json.memory.service, mb)]);
  rows.push(['  supervisor, this machine: MB', ...cells(json.memory.supervisor, mb)]);
  return { json, text: table([`steady, ${json.rounds} rounds`, 'median', 'quartiles', 'extremes'], rows) };
}

async function measureBlock(load, block, rounds, found, memory) {
  const stops = /** @type {(() => Promise<void>)[]} */ ([]);
  try {
    const plain = async () => {
      // In a session of its own, as the one under moult is: Linux shares out the processors by sessions (sched_autogroup).
      const started = await startListening([program('service.mjs')], {}, ['setsid']);
      stops.push(() => stopChild(started.child, 'SIGTERM'));
      return { port: started.port, pids: [started.pid] };
    };
    const supervised = async () => {
      const moult = await startUnderMoult();
      stops.push(moult.stop);
      return { port: moult.port, pids: [moult.pid, moult.supervisorPid] };
    };
    // Who starts first, and who is loaded first, changes from block to block and from round to round.
    const starts = [plain, plain, supervised];
    const order = [0, 1, 2].map((i) => (i + block) % 3);
    /** @type {{ port: number, pids: number[] }[]} */
    const services = [];
    for (const i of order) services[i] = await starts[i]();
    for (const one of services) {
      for (const { kind, connections } of KINDS) {
        await load.ask({ kind, connections, ...one, warmUpMs: 0, measureMs: SETTLE_MS });
      }
    }
    for (const { kind, connections, warmUpMs, measureMs } of KINDS) {
      for (let round = 0; round < rounds; round += 1) {
        /** @type {{ answered: number, ms: number, cpuMs: number[] }[]} */
        const results = [];
        for (const i of [0, 1, 2].map((n) => (n + round) % 3)) {
          results[i] = await load.ask({ kind, connections, ...services[i], warmUpMs, measureMs });
        }
        note(found[kind], results);
      }
    }
    const [first, second, third] = services.map(({ pids }) => pids.map(memoryBytes));
    memory.plain.push(first[0], second[0]);
    memory.service.push(third[0]);
    memory.supervisor.push(third[1]);
    memory.ratio.push(third[0] / ((first[0] + second[0]) / 2));
  } finally {
    for (const stop of stops.reverse()) await stop();
  }
}

function note(into, results) {
  const rps = results.map(({ answered, ms: took }) => answered / (took / 1000));
  const cpu = results.map(({ answered, cpuMs }) => (cpuMs[0] * 1000) / answered);
  into.rps.push(rps[2] / ((rps[0] + rps[1]) / 2));
  into.cpu.push(cpu[2] / ((cpu[0] + cpu[1]) / 2));
  into.noiseRps.push(rps[1] / rps[0]);
  into.noiseCpu.push(cpu[1] / cpu[0]);
  into.plainRps.push(rps[0], rps[1]);
  into.plainCpuUs.push(cpu[0], cpu[1]);
  into.supervisorShare.push(results[2].cpuMs[1] / results[2].cpuMs[0]);
}
