import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { unlink, writeFile } from 'node:fs/promises';
import http from 'node:http';
import net from 'node:net';
import path from 'node:path';
import { describe, it } from 'node:test';
import { metricTable } from '#moult/metrics/metric-table.js';
import { freePort } from '../support/free-ports.js';
import { RawClient } from './raw-client.js';
import { root, type Supervised, until, withFolder, withService } from './supervised.js';

/** Answers `/e` with 500, `/die` by ending itself, else with 200; it fails to start where the file says so. */
const SERVICE = `
  const { existsSync } = require('node:fs');
  if (existsSync(process.env.BROKEN)) { console.error('no such table'); process.exit(3); }
  require('node:http').createServer({ keepAliveTimeout: 600_000 }, (request, response) => {
    if (request.url === '/die') process.kill(process.pid, 'SIGKILL');
    response.statusCode = request.url === '/e' ? 500 : 200;
    response.end('x');
  }).listen(process.env.PORT, '127.0.0.1');`;

interface Scene {
  readonly service: Supervised;
  readonly port: number;
  readonly broken: string;
}

async function withMetrics(
  metrics: string | undefined,
  test: (scene: Scene) => Promise<void>,
  options: readonly string[] = [],
): Promise<void> {
  await withFolder(async (folder) => {
    const script = path.join(folder, 'service.cjs');
    await writeFile(script, SERVICE);
    const port = await freePort();
    const broken = path.join(folder, 'broken');
    const own = metrics === undefined ? [] : ['--metrics', metrics];
    const runOptions = [...own, '--probation', '300ms', ...options];
    const env = { PORT: String(port), BROKEN: broken };
    await withService({ command: [script], env, runOptions }, (service) => test({ service, port, broken }));
  });
}

function get(at: { port: number } | { socketPath: string }, url: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = http.get({ host: '127.0.0.1', ...at, path: url, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
      response.on('end', () => resolve(text));
      response.on('error', reject);
    });
    request.on('error', reject);
  });
}

function value(text: string, series: string): number {
  const line = text.split('\n').find((one) => one.startsWith(`${series} `));
  return line === undefined ? Number.NaN : Number(line.slice(series.length + 1));
}

const of = (name: string, labels = '') => `${name}{${labels}${labels === '' ? '' : ','}service="service"}`;

describe('moult run --metrics', () => {
  it('counts what clients see over restarts, failures, a kill and an upgrade, past a scraper that never reads', async () => {
    const at = await freePort();
    await withMetrics(`127.0.0.1:${at}`, async ({ service, port, broken }) => {
      const scrape = () => get({ port: at }, '/metrics');
      await service.logs(/metrics are served at 127\.0\.0\.1:\d+\/metrics/);
      const stuck = net.connect(at, '127.0.0.1').on('error', () => {});
      stuck.pause().write('GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(200));
      const client = await RawClient.connect({ host: '127.0.0.1', port });
      client.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
      await until('it is answered', () => client.responses.length === 1);
      for (const url of ['/', '/e', '/e']) await get({ port }, url);
      await service.restart('--wait=confirmed');
      for (const url of ['/', '/', '/e']) await get({ port }, url);
      await service.alone();
      const text = await scrape();
      assert.equal(value(text, of('moult_http_requests_total', 'slot=""')), 7);
      assert.equal(value(text, of('moult_http_errors_total', 'slot=""')), 3);
      assert.equal(value(text, of('moult_http_request_duration_seconds_count', 'slot=""')), 7);
      assert.equal(value(text, of('moult_connections_moved_total')), 1);
      assert.equal(value(text, of('moult_connection_pause_seconds_count')), 1);
      assert.equal(value(text, of('moult_connections', 'slot="",generation="2"')), 1);
      const restarts = (result: string) => of('moult_restarts_total', `kind="restart",result="${result}"`);
      assert.equal(value(text, restarts('confirmed')), 1);
      assert.doesNotMatch(text, /generation="1"/);
      for (const { name } of Object.values(metricTable))
        assert.match(text, new RegExp(`^# TYPE ${name} `, 'm'));

      await writeFile(broken, '');
      const { code } = await service.failingRestart();
      assert.equal(value(await scrape(), restarts('failed')), 1);
      assert.equal(value(await scrape(), of('moult_restart_failures_total', `reason="${code}"`)), 1);
      await get({ port }, '/die').catch(() => {});
      await until('the crash is counted', async () => value(await scrape(), of('moult_crashes_total')) >= 1);
      await until(
        'its next start is due',
        async () => value(await scrape(), of('moult_backoff_seconds', 'slot=""')) > 0,
      );

      await unlink(broken);
      await until(
        'it serves again',
        async () => value(await scrape(), of('moult_state', 'state="serving"')) === 1,
      );
      assert.ok(value(await scrape(), of('moult_http_requests_total', 'slot=""')) >= 7, 'no counter falls');

      const upgraded = await service.moult('upgrade', service.name);
      assert.equal(upgraded.code, 0, upgraded.stderr);
      await until('the next program serves them', () => scrape().catch(() => false));
      await service.restart('--wait=confirmed');
      assert.equal(value(await scrape(), restarts('confirmed')), 1, 'it counts from its own start on');
      const printed = await service.moult('metrics');
      assert.equal(printed.code, 0, printed.stderr);
      assert.equal(value(printed.stdout, restarts('confirmed')), 1);
      stuck.destroy();
      client.socket.destroy();
    });
  });

  it('that finds its port taken serves all the same, restarts, and has metrics as soon as it is free', async () => {
    const taken = net.createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => taken.once('listening', resolve));
    const { port: at } = taken.address() as net.AddressInfo;
    await withMetrics(`${at}`, async ({ service, port }) => {
      await service.logs(/metrics: cannot listen on 127\.0\.0\.1:\d+ \(EADDRINUSE\)/);
      await service.restart();
      assert.equal(await get({ port }, '/'), 'x');
      await new Promise((resolve) => taken.close(resolve));
      await until('the metrics are served', () => get({ port: at }, '/metrics').catch(() => false));
    });
  });

  it('serves at a Unix socket, of slots too; and moult metrics tells of a service that was started without', async () => {
    await withFolder(async (folder) => {
      const socketPath = path.join(folder, 'metrics.sock');
      await withMetrics(
        `unix:${socketPath}`,
        async ({ port }) => {
          await until('it is served', () => existsSync(socketPath));
          for (let i = 0; i < 5; i += 1) await get({ port }, '/');
          const text = await until('both slots serve', async () => {
            const now = await get({ socketPath }, '/metrics');
            return /moult_event_loop_delay_seconds\{slot="1"/.test(now) && now;
          });
          const requests = [0, 1].map((slot) =>
            value(text, of('moult_http_requests_total', `slot="${slot}"`)),
          );
          assert.equal((requests[0] ?? 0) + (requests[1] ?? 0), 5);
        },
        ['--slots', '2'],
      );
    });
    await withMetrics(undefined, async ({ service, port }) => {
      await service.restart('--wait=confirmed');
      const first = (await service.moult('metrics')).stdout;
      assert.equal(value(first, of('moult_restarts_total', 'kind="restart",result="confirmed"')), 1);
      await get({ port }, '/');
      const second = (await service.moult('metrics')).stdout;
      assert.equal(value(second, of('moult_http_requests_total', 'slot=""')), 1);
      assert.equal((await service.moult('run', '--metrics', 'example.org:1', 'x.js')).code, 2);
    });
  });
});

describe('moult run without --metrics', () => {
  it('loads nothing of metrics, events, traces and the dashboard', () => {
    const chunks = path.join(root, 'dist/chunks');
    const texts = new Map(
      readdirSync(chunks).map((name) => [name, readFileSync(path.join(chunks, name), 'utf8')]),
    );
    const [run] =
      [...texts].find(([, text]) => /^ {2}runCommand,?$/m.test(text) && !text.includes('rehearseCommand')) ??
      [];
    assert.ok(run, 'the chunk of moult run');
    const loaded = new Set([run]);
    for (const name of loaded)
      for (const [, next = ''] of (texts.get(name) ?? '').matchAll(
        /^(?:import|export)? ?.*?from "\.\/([\w-]+\.js)";$/gm,
      ))
        loaded.add(next);
    assert.ok(loaded.size > 3);
    const external = [...loaded].flatMap((name) =>
      [...(texts.get(name) ?? '').matchAll(/from "([a-z@][^"]*)";$/gm)].map(([, one]) => one),
    );
    assert.ok(external.includes('commander'), 'what it loads is seen');
    assert.ok(!external.includes('prom-client'));
    for (const name of loaded)
      assert.doesNotMatch(
        texts.get(name) ?? '',
        /class (Exposition|DashboardServer|EventProgram|RestartTraces)\b/,
      );
  });
});
