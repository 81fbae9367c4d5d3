// `node proofs/prometheus.mjs`: a real Prometheus scrapes a service over 20 restarts, some of which fail or are undone, with connections
// that move and others that are cut, and over crashes. Exit status 1 if a counter fell, a metric of the documentation is
// missing, promtool finds fault with what is served, or a rule of the documentation gives no value.
//
//   node proofs/prometheus.mjs --restarts 20
import { execFile, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { metricTable } from '../dist/metrics/metric-table.js';
import { freePorts } from '../scripts/free-ports.mjs';
import { Clients } from './dashboard/clients.mjs';
import { ShownService } from './dashboard/shown-service.mjs';
import { until, verdict } from './harness.mjs';

const PAGE = fileURLToPath(new URL('../docs/reference/metrics.md', import.meta.url));
/** A crashed service starts again later and later; from here on the rule of crash loops holds. */
const LOOP_SECONDS = 5;

const { values } = parseArgs({ options: { restarts: { type: 'string', default: '20' } } });
const problems = [];
const folder = await mkdtemp(path.join(tmpdir(), 'moult-prometheus-'));
const [port, metrics, scraper] = await freePorts(3);
const api = `http://127.0.0.1:${scraper}`;
let prometheus;
let service;
let clients;
try {
  await prove();
} catch (error) {
  problems.push(error.stack);
} finally {
  clients?.close();
  await service?.stop();
  prometheus?.kill('SIGTERM');
  await rm(folder, { recursive: true, force: true });
}
verdict(problems);

async function prove() {
  const rules = await rulesOfPage();
  service = await ShownService.start(folder, port, undefined, [
    '--metrics',
    `127.0.0.1:${metrics}`,
    '--probation',
    '300ms',
    '--drain-timeout',
    '1s',
  ]);
  prometheus = await startPrometheus();
  clients = new Clients(port);
  clients.begin();
  await until('a first scrape', async () => (await query('moult_state')).length > 0);
  const wanted = Number(values.restarts);
  for (let restart = 1; restart <= wanted; restart += 1) {
    const isBroken = restart % 5 === 0;
    if (isBroken) await writeFile(service.broken, '');
    if (restart % 4 === 1) await clients.hold(3);
    const outcome = await service.moult('restart', 'shop', '--wait=confirmed').catch((error) => error);
    if (isBroken !== outcome instanceof Error) problems.push(`restart ${restart}: ${String(outcome)}`);
    if (isBroken) await unlink(service.broken);
    clients.release();
  }
  const failed = Math.floor(wanted / 5);
  await until('the restarts are counted', async () => {
    const [confirmed] = await query('sum(moult_restarts_total{result="confirmed"})');
    const [others] = await query('sum(moult_restart_failures_total)');
    return Number(confirmed?.value[1]) === wanted - failed && Number(others?.value[1]) === failed;
  });
  await checkNames();
  await checkText();
  const values_ = new Map();
  const look = async () => {
    for (const { name, expr } of rules) {
      const [first] = await query(expr);
      if (first !== undefined && first.value[1] !== 'NaN') values_.set(name, first.value[1]);
    }
  };
  await look();
  await crashUntilItWaits();
  await until('each rule gives a value', async () => {
    await look();
    return values_.size === rules.length;
  }).catch(() => {
    for (const { name } of rules) if (!values_.has(name)) problems.push(`the rule ${name} gives no value`);
  });
  await checkCounters();
  console.log(
    `${wanted} restarts, ${failed} of them failed; ${Object.keys(metricTable).length} metrics scraped`,
  );
  for (const [name, value] of values_) console.log(`    ${name}: ${value}`);
}

async function rulesOfPage() {
  const [, text = ''] = /```yaml\n# moult\.rules\.yml\n(.*?)```/s.exec(await readFile(PAGE, 'utf8')) ?? [];
  await writeFile(path.join(folder, 'moult.rules.yml'), text);
  await run('promtool', ['check', 'rules', path.join(folder, 'moult.rules.yml')]);
  const found = [...text.matchAll(/- (?:alert|record): (\S+)\n\s+expr: (.+)/g)];
  return found.map(([, name, expr]) => ({ name, expr }));
}

async function startPrometheus() {
  const config = path.join(folder, 'prometheus.yml');
  await writeFile(
    config,
    `global: {scrape_interval: 500ms, scrape_timeout: 400ms, evaluation_interval: 1s}
rule_files: ['moult.rules.yml']
scrape_configs:
  - job_name: moult
    static_configs: [{targets: ['127.0.0.1:${metrics}']}]
`,
  );
  const child = spawn(
    'prometheus',
    [
      `--config.file=${config}`,
      `--storage.tsdb.path=${path.join(folder, 'data')}`,
      `--web.listen-address=127.0.0.1:${scraper}`,
      '--log.level=error',
    ],
    { stdio: ['ignore', 'inherit', 'inherit'] },
  );
  await until('Prometheus is ready', () =>
    fetch(`${api}/-/ready`).then(
      ({ ok }) => ok,
      () => false,
    ),
  );
  return child;
}

async function query(expr) {
  const response = await fetch(`${api}/api/v1/query?query=${encodeURIComponent(expr)}`);
  const { status, data, error } = await response.json();
  if (status !== 'success') throw new Error(`${expr}: ${error}`);
  return data.result;
}

async function checkNames() {
  for (const { name, type } of Object.values(metricTable)) {
    const series = type === 'histogram' ? `${name}_bucket` : name;
    const found = await query(`last_over_time(${series}[5m])`);
    if (found.length === 0) problems.push(`${series} is not there`);
  }
}

async function checkText() {
  const text = await (await fetch(`http://127.0.0.1:${metrics}/metrics`)).text();
  await run('promtool', ['check', 'metrics'], text).catch(({ message }) => problems.push(message));
}

// A gap is none: the service is killed, its supervisor is not.
async function checkCounters() {
  for (const { name, type } of Object.values(metricTable)) {
    const all =
      type === 'histogram'
        ? [`${name}_bucket`, `${name}_count`, `${name}_sum`]
        : type === 'counter'
          ? [name]
          : [];
    for (const series of all)
      for (const { metric, value } of await query(`resets(${series}[30m]) > 0`))
        problems.push(`${series} fell ${value[1]} times: ${JSON.stringify(metric)}`);
  }
}

async function crashUntilItWaits() {
  await until('it waits for its next start', async () => {
    const [backoff] = await query('max(moult_backoff_seconds)');
    if (Number(backoff?.value[1]) > LOOP_SECONDS) return true;
    const [{ generations = [] }] = [JSON.parse(await service.moult('status', 'shop', '--json'))];
    for (const { pid, state } of generations) if (state === 'serving') process.kill(pid, 'SIGKILL');
    return false;
  });
}

function run(command, args, input = '') {
  return new Promise((resolve, reject) => {
    const child = execFile(command, args, (error, stdout, stderr) =>
      error ? reject(new Error(`${command} ${args.join(' ')}: ${stdout}${stderr}`)) : resolve(stdout),
    );
    child.stdin.end(input);
  });
}
