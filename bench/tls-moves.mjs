// What `--tls move` costs beside the records: before any move (the same https service without moult, a second time, and
// under `moult run --tls move`, loaded by turns), in the move, and in memory afterwards.
import { cells, figure, ratio } from './measure/figures.mjs';
import { cpuMs, memoryBytes, program, startHelper, startListening, stopChild } from './measure/processes.mjs';
import { table } from './measure/table.mjs';
import { startUnderMoult } from './measure/under-moult.mjs';

const ROUNDS = 9;
const REQUESTS = 2000;
const CONNECTIONS = 1000;
const MOVERS = 5;
const SERVICE = 'tls-service.mjs';
const OPTIONS = ['--tls', 'move', '--probation', '100ms'];

/** @param {{ say(text: string): void, isQuick: boolean }} options */
export async function run({ say, isQuick }) {
  say('before any move');
  const steady = await measureSteady(isQuick ? 2 : ROUNDS, isQuick ? 200 : REQUESTS);
  say('in the move');
  const costs = await measureCosts(isQuick ? 1 : MOVERS, isQuick ? 50 : 300);
  say('memory');
  const memory = await measureMemory(isQuick ? 1 : 3, isQuick ? 100 : CONNECTIONS);
  const found = { ...steady, ...costs, ...memory };
  const json = Object.fromEntries(Object.entries(found).map(([name, values]) => [name, figure(values)]));
  const us = (/** @type {number} */ value) => value.toFixed(0);
  const kb = (/** @type {number} */ bytes) => (bytes / 1024).toFixed(1);
  const row = (/** @type {string} */ what, /** @type {string} */ name, show = us) => [
    what,
    ...cells(json[name], show),
  ];
  const rows = [
    row('CPU a request before any move, moult / plain', 'cpu', ratio),
    row('  noise: plain / plain', 'noise', ratio),
    row("capture, Node's TLS: CPU µs a connection", 'captureNativeUs'),
    row('capture, moved before: CPU µs', 'captureMovedUs'),
    row('adopt: CPU µs', 'adoptUs'),
    row('state on its way: KB', 'stateBytes', kb),
    row("memory of an idle connection, Node's TLS: KB", 'nativeBytes', kb),
    row('memory of an idle connection, moved: KB', 'movedBytes', kb),
  ];
  return { json, text: table(['tls-moves', 'median', 'quartiles', 'extremes'], rows) };
}

/** @param {number} rounds @param {number} count */
async function measureSteady(rounds, count) {
  const stops = /** @type {(() => Promise<void>)[]} */ ([]);
  const plain = async () => {
    const { port, pid, child } = await startListening([program(SERVICE)], {});
    stops.push(() => stopChild(child, 'SIGTERM'));
    return { port, pid };
  };
  try {
    const services = [await plain(), await plain()];
    const moult = await startUnderMoult({}, OPTIONS, SERVICE);
    stops.push(moult.stop);
    services.push({ port: moult.port, pid: moult.pid });
    const load = [];
    for (const { port, pid } of services) {
      const client = startHelper('tls-client.mjs');
      stops.push(client.stop);
      await client.ask({ do: 'connect', port, ways: ['native'] });
      load.push(async () => {
        const before = cpuMs(pid);
        await client.ask({ do: 'load', by: 'native', kind: 'small', count });
        return cpuMs(pid) - before;
      });
    }
    const found = { cpu: /** @type {number[]} */ ([]), noise: /** @type {number[]} */ ([]) };
    for (let round = -1; round < rounds; round += 1) {
      const took = [0, 0, 0];
      for (const i of [0, 1, 2].map((n) => (n + round + 1) % 3)) took[i] = await load[i]();
      // The first is to warm up.
      if (round < 0) continue;
      found.cpu.push((2 * took[2]) / (took[0] + took[1]));
      found.noise.push(took[1] / took[0]);
    }
    return found;
  } finally {
    for (const stop of stops.reverse()) await stop();
  }
}

/** @param {number} repeats @param {number} count */
async function measureCosts(repeats, count) {
  const found = {
    captureNativeUs: /** @type {number[]} */ ([]),
    captureMovedUs: /** @type {number[]} */ ([]),
    adoptUs: /** @type {number[]} */ ([]),
    stateBytes: /** @type {number[]} */ ([]),
  };
  for (let i = 0; i < repeats; i += 1) {
    const mover = startHelper('tls-mover.mjs');
    const client = startHelper('tls-client.mjs');
    try {
      const { port } = await mover.ask({ do: 'listen' });
      await client.ask({ do: 'connect', port, ways: ['native'], connections: count });
      const { native, again } = await mover.ask({ do: 'move' });
      await client.ask({ do: 'load', by: 'native', kind: 'small', count });
      found.captureNativeUs.push(native.captureUs);
      found.captureMovedUs.push(again.captureUs);
      found.adoptUs.push(native.adoptUs, again.adoptUs);
      found.stateBytes.push(native.stateBytes);
    } finally {
      await client.stop();
      await mover.stop();
    }
  }
  return found;
}

/** Beside the memory of a generation of the same age that has no connections. @param {number} repeats @param {number} count */
async function measureMemory(repeats, count) {
  const found = { nativeBytes: /** @type {number[]} */ ([]), movedBytes: /** @type {number[]} */ ([]) };
  for (let i = 0; i < repeats; i += 1) {
    const client = startHelper('tls-client.mjs');
    const moult = await startUnderMoult({}, OPTIONS, SERVICE);
    try {
      await moult.restart();
      const pid = await moult.alone();
      const without = memoryBytes(pid);
      await client.ask({ do: 'connect', port: moult.port, ways: ['native'], connections: count });
      found.nativeBytes.push((memoryBytes(pid) - without) / count);
      const { moved } = await moult.restart();
      if (moved !== count) throw new Error(`${moved} connections moved, expected ${count}`);
      found.movedBytes.push((memoryBytes(await moult.alone()) - without) / count);
      await client.ask({ do: 'load', by: 'native', kind: 'small', count });
    } finally {
      await client.stop();
      await moult.stop();
    }
  }
  return found;
}
