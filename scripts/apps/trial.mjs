// One application's trial. Under strict clients: five restarts, a release that throws, a rollback after probation. Then, since
// what a dead process had accepted is lost with it, under clients that ask with new connections, of which none may be
// refused: a release that dies in its probation, and a crash.
import { cpSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import WebSocket from 'ws';
import { startLoad } from '../../dist/verify/load.js';
import { startExchanges } from './exchange-clients.mjs';
import { SupervisedApp } from './supervised-app.mjs';

const RESTARTS = 5;
const EXCHANGE_CLIENTS = 5;
const WEB_SOCKETS = 10;
const PROBATION_MS = 4000;
const OPTIONS = [
  '--probation',
  `${PROBATION_MS}ms`,
  '--drain-timeout',
  '3s',
  '--stop-timeout',
  '3s',
  '--ready-timeout',
  '30s',
];
const BROKEN = {
  throws: (real) => `throw new Error('broken on purpose, instead of ${path.basename(real)}');\n`,
  dies: (real) => `setTimeout(() => process.exit(3), 2500);\nimport(${JSON.stringify(real)});\n`,
};

/** @param installed the folder with its node_modules. @returns what was seen; `problems` is empty when all was as promised. */
export async function trial(app, node, installed, interrupted) {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'moult-app-'));
  const problems = [];
  const seen = { moved: 0, draining: 0, cut: 0, problems };
  const current = path.join(folder, 'current');
  const deploy = (release) => {
    symlinkSync(path.join(folder, 'releases', release), `${current}.next`);
    renameSync(`${current}.next`, current);
  };
  const ports = [];
  for (const _ of app.speaks) ports.push(String(await freePort()));
  const data = path.join(folder, 'data');
  mkdirSync(data);
  app.prepare(data, ports);
  makeReleases(app, installed, folder);
  deploy('one');
  const command = [path.join(current, 'node_modules', app.bin), ...app.args(ports, data)];
  const service = new SupervisedApp(node, command, OPTIONS, app.env(ports), data);
  const stopNow = () => void service.stop();
  interrupted.addEventListener('abort', stopNow);
  try {
    await service.serving();
    await lookAtPorts('after the start');
    const clients = startClients(app, ports);
    await pause(500);
    for (let n = 1; n <= RESTARTS; n += 1) {
      deploy(n % 2 === 1 ? 'two' : 'one');
      const { code, result } = await service.restart('--wait=confirmed');
      if (code !== 0) problems.push(`restart ${n}: exit ${code}, ${JSON.stringify(result.error)}`);
      for (const key of ['moved', 'draining', 'cut']) seen[key] += result.summary?.[key] ?? 0;
      await lookAtPorts(`after restart ${n}`);
    }
    await deployBroken('throws');
    deploy('two');
    const back = await service.rollback();
    if (back.code !== 0) problems.push(`rollback: exit ${back.code}, ${back.stderr.slice(-300)}`);
    await lookAtPorts('after the rollback');
    await pause(PROBATION_MS + 1000);
    Object.assign(seen, await clients.stop());
    if (app.known === undefined && (seen.failed > 0 || seen.lost > 0))
      problems.push(`${seen.failed} failed, ${seen.lost} lost: ${seen.reasons}`);
    const newcomers = httpLoad(app, ports, { 'new-connection': 10 });
    await deployBroken('dies');
    deploy('two');
    await crash();
    const report = await newcomers?.stop(20_000);
    seen.refused = report?.total.reasons.refused ?? 0;
    if (seen.refused > 0) problems.push(`${seen.refused} refused where a process died`);
  } catch (error) {
    problems.push(error.message);
  } finally {
    interrupted.removeEventListener('abort', stopNow);
    await service.stop();
    rmSync(folder, { recursive: true, force: true });
  }
  if (problems.length > 0) seen.output = service.output;
  return seen;

  /** The restart fails, and who served before serves. */
  async function deployBroken(how) {
    deploy(how);
    const before = await service.servingPid();
    const { code } = await service.restart('--wait=confirmed');
    if (code === 0) problems.push(`a release that ${how}: exit 0`);
    if ((await service.servingPid()) !== before)
      problems.push(`a release that ${how}: the old one does not serve`);
    await lookAtPorts(`after a release that ${how}`);
  }

  async function crash() {
    const before = await service.servingPid();
    process.kill(before, 'SIGKILL');
    const untilMs = performance.now() + 30_000;
    for (let pid = before; pid === undefined || pid === before; pid = await service.servingPid()) {
      if (performance.now() > untilMs) throw new Error('nobody serves 30 s after a crash');
      await pause(100);
    }
    await lookAtPorts('after a crash');
  }

  async function lookAtPorts(when) {
    for (const port of ports) {
      if (!(await accepts(port))) problems.push(`${when}: nobody accepts at port ${port}`);
    }
  }
}

/** Two good releases, alike but in folders of their own, and the broken ones. */
function makeReleases(app, installed, folder) {
  const releases = path.join(folder, 'releases');
  for (const name of ['one', 'two']) {
    // Real copies: a release that is a link to the other would be the same one.
    cpSync(installed, path.join(releases, name), { recursive: true, verbatimSymlinks: true });
  }
  const real = path.join(releases, 'one/node_modules', app.bin);
  for (const [name, text] of Object.entries(BROKEN)) {
    const script = path.join(releases, name, 'node_modules', app.bin);
    mkdirSync(path.dirname(script), { recursive: true });
    writeFileSync(script, text(real));
  }
}

function httpLoad(app, ports, clients) {
  const http = app.speaks.flatMap((protocol, n) => (protocol === 'http' ? [ports[n]] : []));
  if (http.length === 0) return undefined;
  const request = { path: app.request };
  const requests = Object.fromEntries(Object.keys(clients).map((kind) => [kind, request]));
  const loads = http.map((port) =>
    startLoad({
      target: { host: '127.0.0.1', port: Number(port) },
      clients,
      requests,
      thinkMs: 100,
      requestTimeoutMs: 60_000,
      connectTimeoutMs: 60_000,
    }),
  );
  return {
    stop: async (limitMs) => {
      const reports = await Promise.all(loads.map((load) => load.stop(limitMs)));
      const total = { requests: 0, failed: 0, lost: 0, toldToClose: 0, reasons: {} };
      for (const { total: one } of reports) {
        for (const key of ['requests', 'failed', 'lost', 'toldToClose']) total[key] += one[key];
        for (const [reason, count] of Object.entries(one.reasons))
          total.reasons[reason] = (total.reasons[reason] ?? 0) + count;
      }
      return { total };
    },
  };
}

function startClients(app, ports) {
  const load = httpLoad(app, ports, app.clients);
  const exchanges = app.speaks.flatMap((protocol, n) =>
    protocol === 'http' ? [] : [startExchanges(protocol, Number(ports[n]), EXCHANGE_CLIENTS)],
  );
  const webSockets = app.webSockets === undefined ? undefined : watchWebSockets(ports[0], app.webSockets);
  return {
    stop: async () => {
      const report = await load?.stop(20_000);
      const others = await Promise.all(exchanges.map((one) => one.stop()));
      const { requests = 0, failed = 0, lost = 0, toldToClose = 0, reasons = {} } = report?.total ?? {};
      const failures = others.flatMap((one) => one.failed);
      return {
        requests: requests + others.reduce((sum, { done }) => sum + done, 0) + failures.length,
        failed: failed + failures.length,
        lost,
        toldToClose,
        webSocketsClosed: webSockets?.stop(),
        reasons: JSON.stringify({
          ...reasons,
          ...(failures.length > 0 ? { exchanges: failures.slice(0, 5) } : {}),
        }),
      };
    },
  };
}

/** Open WebSockets that are opened again when they are closed. @returns how many closings there were, by code. */
function watchWebSockets(port, where) {
  const closings = {};
  const open = new Set();
  let isOver = false;
  const dial = () => {
    const socket = new WebSocket(`ws://127.0.0.1:${port}${where}`);
    open.add(socket);
    socket.on('error', () => {});
    socket.on('close', (code) => {
      open.delete(socket);
      if (isOver) return;
      closings[code] = (closings[code] ?? 0) + 1;
      setTimeout(dial, 50);
    });
  };
  for (let n = 0; n < WEB_SOCKETS; n += 1) dial();
  return {
    stop: () => {
      isOver = true;
      for (const socket of open) socket.terminate();
      return closings;
    },
  };
}

function accepts(port) {
  return new Promise((resolve) => {
    const socket = net.connect(Number(port), '127.0.0.1');
    socket.once('connect', () => resolve(true));
    socket.once('error', () => resolve(false));
    socket.once('close', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}

function freePort() {
  return new Promise((resolve, reject) => {
    const server = net.createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
    server.once('error', reject);
  });
}
