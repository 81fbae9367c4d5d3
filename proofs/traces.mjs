// `node proofs/traces.mjs [--restarts 10] [--python python3]`: each restart arrives as one whole trace at a receiver that decodes
// it with the official packages of Python, `protobuf` and `opentelemetry-proto` (pip install opentelemetry-proto). Every third
// restart fails. Exit status 1 if a trace is not whole, 2 where the packages are missing.
import { spawn, spawnSync } from 'node:child_process';
import { mkdtemp, rm, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { freePort } from '../scripts/free-ports.mjs';
import { ShownService } from './dashboard/shown-service.mjs';

const RECEIVER = fileURLToPath(new URL('traces/receiver.py', import.meta.url));
const LONGEST_MS = 60_000;
const STAGES = ['spawn', 'hello', 'inherit', 'ready', 'commit', 'connections', 'look', 'verify', 'confirm'];
/** Source: opentelemetry/proto/trace/v1/trace.proto, Status.StatusCode. */
const ERROR = 2;

const { values } = parseArgs({
  options: { restarts: { type: 'string', default: '10' }, python: { type: 'string', default: 'python3' } },
});
const { python } = values;
if (spawnSync(python, ['-c', 'import opentelemetry.proto.trace.v1.trace_pb2']).status !== 0) {
  console.error('a package is missing: pip install opentelemetry-proto');
  process.exit(2);
}
const problems = [];
const spans = [];
const folder = await mkdtemp(path.join(tmpdir(), 'moult-traces-'));
const receiver = spawn(python, [RECEIVER], { stdio: ['ignore', 'pipe', 'inherit'] });
let service;
try {
  await prove(Number(values.restarts));
} catch (error) {
  problems.push(error.stack);
} finally {
  await service?.stop();
  receiver.kill('SIGTERM');
  await rm(folder, { recursive: true, force: true });
}
for (const problem of problems) console.log(`    ${problem}`);
process.exitCode = problems.length === 0 ? 0 : 1;

async function prove(wanted) {
  const lines = createInterface({ input: receiver.stdout });
  const [at] = await Promise.race([
    new Promise((resolve) => lines.once('line', (line) => resolve([line]))),
    new Promise((_, reject) => receiver.once('exit', () => reject(new Error('the receiver has ended')))),
  ]);
  lines.on('line', (line) => {
    const span = JSON.parse(line);
    if (span.problem === undefined) spans.push(span);
    else problems.push(span.problem);
  });
  process.env.OTEL_EXPORTER_OTLP_ENDPOINT = `http://127.0.0.1:${at}`;
  const metrics = await freePort();
  service = await ShownService.start(folder, await freePort(), undefined, [
    '--probation',
    '300ms',
    '--metrics',
    `127.0.0.1:${metrics}`,
  ]);
  let failures = 0;
  for (let restart = 1; restart <= wanted; restart += 1) {
    const fails = restart % 3 === 0;
    if (fails) await writeFile(service.broken, '');
    const outcome = await service.moult('restart', 'shop', '--wait=confirmed').catch((error) => error);
    if (fails !== outcome instanceof Error) problems.push(`restart ${restart}: ${String(outcome)}`);
    if (fails) await unlink(service.broken);
    failures += fails ? 1 : 0;
  }
  const roots = () => spans.filter(({ name }) => name === 'restart');
  const limit = performance.now() + LONGEST_MS;
  while (roots().length < wanted && performance.now() < limit) await pause(100);
  if (roots().length !== wanted) problems.push(`${roots().length} traces have come, expected ${wanted}`);
  for (const root of roots()) checkTrace(root);
  const wrong = roots().filter(({ status }) => status === ERROR).length;
  if (wrong !== failures) problems.push(`${wrong} traces have the status of an error, expected ${failures}`);
  const traces = new Set(spans.map(({ trace }) => trace));
  if (traces.size !== wanted) problems.push(`${traces.size} traces, expected ${wanted}`);
  console.log(
    `${wanted} restarts, ${failures} of them failed: ${traces.size} traces with ${spans.length} spans, decoded by the official protobuf package`,
  );
}

function checkTrace(root) {
  const { attributes, resource, status } = root;
  const below = spans.filter(({ trace, id }) => trace === root.trace && id !== root.id);
  const names = new Set(below.map(({ name }) => name));
  const what = `trace of generation ${attributes['deployment.id']}`;
  if (status !== ERROR)
    for (const stage of STAGES) if (!names.has(stage)) problems.push(`${what}: no span ${stage}`);
  if (names.size !== below.length || names.size === 0)
    problems.push(`${what}: ${below.length} spans of ${names.size} stages`);
  for (const { name, parent, start, end, path: at } of below) {
    if (parent !== root.id) problems.push(`${what}: ${name} is below ${parent}`);
    if (start < root.start || end > root.end || end < start)
      problems.push(`${what}: ${name} is not within its restart`);
    if (at !== '/v1/traces') problems.push(`${what}: it came to ${at}`);
  }
  for (const key of ['deployment.id', 'deployment.status', 'service.instance.id', 'process.pid'])
    if (attributes[key] === undefined && resource[key] === undefined) problems.push(`${what}: no ${key}`);
  if (resource['service.name'] !== 'shop')
    problems.push(`${what}: service.name is ${resource['service.name']}`);
}
