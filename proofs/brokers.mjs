// `node proofs/brokers.mjs`: 10,000 numbered messages at a steady rate through each broker of proofs/brokers, on
// a real server, while the service that consumes them is restarted twenty times; in both ways of changing over, beside
// a control run without a restart. Exit status 1 if one was lost, was handled twice where that is promised not to be,
// came out of order in exclusive mode, or if more connections were opened than the generations need.
//
//   node proofs/brokers.mjs --broker rabbitmq --changeover overlap --messages 1000 --restarts 3 --per-second 100
//
// With --undone each third restart is undone.
//
// A minute or two for each broker and way. "longest ms" is the longest time in which nothing was handled, "at change" the
// longest while one generation had begun and the one before had not stopped, or neither had it. What is beyond the
// control run, or the producer's own longest pause, is due to the restarts.
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Bench } from './brokers/prove.mjs';
import { build, say, tableOf } from './harness.mjs';
import { expectOneOf, numberOf } from './nodes.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const BROKERS = path.join(root, 'proofs/brokers');
const WAYS = ['exclusive', 'overlap'];
/** With --undone, which of the restarts. */
const UNDONE_EACH = 3;
/** The goal for the longest time without consumption in overlap, beyond the longest of the steady state. */
const BEYOND_MS = 20;

const { values } = parseArgs({
  options: {
    broker: { type: 'string', multiple: true, default: [] },
    changeover: { type: 'string', multiple: true, default: WAYS },
    messages: { type: 'string', default: '10000' },
    restarts: { type: 'string', default: '20' },
    'per-second': { type: 'string', default: '200' },
    undone: { type: 'boolean', default: false },
  },
});

const COLUMNS = [
  ['broker', -14, ({ name }) => name],
  ['changeover', -10, ({ changeover }) => changeover],
  ['restarts', 8, ({ restarts }) => restarts],
  ['seconds', 7, ({ seconds }) => seconds.toFixed(1)],
  ['messages', 8, ({ sent }) => sent],
  ['lost', 5, ({ lost }) => lost.length],
  ['twice', 5, ({ doubled }) => doubled],
  ['generations', 11, ({ generations }) => generations],
  ['connections', 11, ({ accepted }) => accepted],
  ['longest ms', 10, ({ longestMs }) => longestMs.toFixed(1)],
  ['at change', 9, ({ changeMs }) => changeMs.toFixed(1)],
  ['producer ms', 11, ({ producerMs }) => producerMs.toFixed(1)],
];

const table = tableOf(COLUMNS);
process.exitCode = await proveAll();

async function proveAll() {
  const all = await brokers();
  expectOneOf('--broker', values.broker, Object.keys(all));
  expectOneOf('--changeover', values.changeover, WAYS);
  const messages = numberOf('--messages', values.messages, 1_000_000);
  const restarts = numberOf('--restarts', values.restarts);
  const perSecond = numberOf('--per-second', values['per-second']);
  build({ withTests: true });
  const { Supervised } = await import('../build/test/integration/supervised.js');
  say(`${messages} messages at least, ${perSecond} a second`);
  table.head();
  let bad = 0;
  for (const name of values.broker.length > 0 ? values.broker : Object.keys(all)) {
    const broker = all[name];
    if (!existsSync(broker.program)) {
      say(`    ${name} is left out: as root, apt-get install ${broker.debianPackage}`);
      continue;
    }
    const bench = new Bench(name, broker, Supervised);
    try {
      await bench.start();
      for (const changeover of values.changeover) {
        if (broker.changeovers?.includes(changeover) === false) continue;
        bad += await prove(bench, { name, changeover, messages, restarts, perSecond });
      }
    } finally {
      await bench.stop();
    }
  }
  say(bad === 0 ? 'all as promised' : `${bad} not as promised`);
  return bad === 0 ? 0 : 1;
}

/** @returns how many things were not as promised. */
async function prove(bench, { name, changeover, messages, restarts, perSecond }) {
  const terms = { changeover, perSecond };
  const few = Math.max(100, Math.floor(messages / 5));
  const control = await bench.run({ ...terms, messages: few });
  const found = await bench.run({
    ...terms,
    messages,
    parts: restarts,
    probation: values.undone ? '1s' : undefined,
    during: ({ service, part }) => change(service, part),
  });
  const { problems } = found;
  if (!values.undone && found.generations !== restarts + 1) {
    problems.push(`handled by ${found.generations} generations, not ${restarts + 1}`);
  }
  // A generation that serves again connects anew.
  const most = bench.mostConnections(restarts + (values.undone ? Math.floor(restarts / UNDONE_EACH) : 0));
  if (found.accepted > most) problems.push(`${found.accepted} connections were opened, not ${most} at most`);
  table.row({ name, changeover, restarts: 0, ...control });
  table.row({ name, changeover, restarts, ...found });
  const beyondMs = found.changeMs - Math.max(control.longestMs, found.producerMs);
  if (changeover === 'overlap') {
    say(`    ${beyondMs.toFixed(1)} ms beyond the steady state; the goal is less than ${BEYOND_MS}`);
  }
  for (const problem of [...control.problems, ...problems]) say(`    ${problem}`);
  return control.problems.length + problems.length;
}

/** A restart; with --undone each third one is undone. */
async function change(service, part) {
  if (!values.undone || part % UNDONE_EACH !== 0) return service.restart('--wait=confirmed');
  await service.restart();
  const { code, stderr } = await service.moult('rollback', service.name);
  if (code !== 0) throw new Error(`moult rollback: ${stderr}`);
}

/** Those of the folder that are message services, by their names. */
async function brokers() {
  const found = {};
  for (const file of readdirSync(BROKERS).sort()) {
    if (!file.endsWith('.mjs') || file === 'service.mjs') continue;
    const { default: broker } = await import(path.join(BROKERS, file));
    if (broker?.consumer !== undefined) found[file.slice(0, -'.mjs'.length)] = broker;
  }
  return found;
}
