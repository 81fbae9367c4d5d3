// One application's trial. Under strict clients: five restarts, a release that throws, a rollback after probation. Then, since
// what a dead process had accepted is lost with it, under clients that ask with new connections, of which none may be
// refused: a release that dies in its probation, and a crash. At the end nothing may be left of it.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { accepts, addressesOf, freePort } from './outside.mjs';
import { makeReleases } from './releases.mjs';
import { SupervisedApp } from './supervised-app.mjs';
import { startClients, startNewcomers } from './trial-clients.mjs';

const RESTARTS = 5;
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

/** @param installed the folder with its node_modules. @returns what was seen; `problems` is empty when all was as promised. */
export async function trial(app, node, installed, interrupted) {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'moult-app-'));
  const problems = [];
  const seen = { moved: 0, draining: 0, cut: 0, problems };
  const ports = [];
  for (const _ of app.speaks) ports.push(String(await freePort()));
  const data = path.join(folder, 'data');
  mkdirSync(data);
  app.prepare(data, ports);
  const { script, deploy } = makeReleases(app, installed, folder);
  deploy('one');
  const service = new SupervisedApp(node, [script, ...app.args(ports, data)], OPTIONS, app.env(ports), data);
  const stopNow = () => void service.stop();
  interrupted.addEventListener('abort', stopNow);
  try {
    await service.serving();
    let serving = await look('after the start');
    if (app.known !== undefined && !app.known.said.test(service.output))
      problems.push(`the start does not say ${app.known.said}`);
    const clients = startClients(app, ports);
    await pause(500);
    for (let n = 1; n <= RESTARTS; n += 1) serving = await restart(n, serving);
    await deployBroken('throws', serving);
    deploy('two');
    const back = await service.rollback();
    if (back.code !== 0) problems.push(`rollback: exit ${back.code}, ${back.stderr.slice(-300)}`);
    serving = await look('after the rollback');
    await pause(PROBATION_MS + 1000);
    Object.assign(seen, await clients.stop());
    if (app.known === undefined && (seen.failed > 0 || seen.lost > 0))
      problems.push(`${seen.failed} failed, ${seen.lost} lost: ${seen.reasons}`);
    const newcomers = startNewcomers(app, ports);
    await deployBroken('dies', serving);
    deploy('two');
    await crash(serving);
    seen.refused = await newcomers.stop();
    if (seen.refused > 0) problems.push(`${seen.refused} refused where a process died`);
  } catch (error) {
    problems.push(error.message);
  } finally {
    interrupted.removeEventListener('abort', stopNow);
    for (const { pid, command } of await service.stop())
      problems.push(`left after the stop: process ${pid}, ${command}`);
    for (const port of ports) {
      if (await accepts(port)) problems.push(`after the stop: somebody accepts at port ${port}`);
    }
    execFileSync('rm', ['-rf', folder]);
  }
  if (problems.length > 0) seen.output = service.output;
  return seen;

  async function restart(n, before) {
    deploy(n % 2 === 1 ? 'two' : 'one');
    const { code, result } = await service.restart('--wait=confirmed');
    if (code !== 0) problems.push(`restart ${n}: exit ${code}, ${JSON.stringify(result.error)}`);
    for (const key of ['moved', 'draining', 'cut']) seen[key] += result.summary?.[key] ?? 0;
    const after = await look(`after restart ${n}`);
    if (code === 0 && after === before) problems.push(`restart ${n}: exit 0, and the same serves`);
    return after;
  }

  /** The restart fails, and who served before serves. */
  async function deployBroken(how, before) {
    deploy(how);
    const { code } = await service.restart('--wait=confirmed');
    if (code === 0) problems.push(`a release that ${how}: exit 0`);
    if ((await look(`after a release that ${how}`)) !== before)
      problems.push(`a release that ${how}: the old one does not serve`);
  }

  async function crash(before) {
    process.kill(before, 'SIGKILL');
    // One that serves may still be about to listen on some of its ports, whose clients wait.
    const isBack = (status) =>
      ![undefined, before].includes(servingPid(status)) && missingIn(addressesOf(status)).length === 0;
    for (const untilMs = performance.now() + 30_000; !isBack(await service.status()); await pause(100)) {
      if (performance.now() > untilMs) throw new Error('not all is served 30 s after a crash');
    }
    await look('after a crash');
  }

  /** Looks at its own ports, and at each that the status names. @returns the process that serves. */
  async function look(when) {
    const status = await service.status();
    const named = addressesOf(status);
    for (const { port, host } of named) {
      if (await accepts(port, host)) continue;
      // A port for a moment may be gone by now.
      const isStill = addressesOf(await service.status()).some((one) => one.port === port);
      if (isStill && !(await accepts(port, host))) problems.push(`${when}: nobody accepts at port ${port}`);
    }
    for (const port of ports) {
      if (!(await accepts(port))) problems.push(`${when}: nobody accepts at port ${port}`);
    }
    for (const port of missingIn(named)) problems.push(`${when}: the status does not name port ${port}`);
    return servingPid(status);
  }

  // The primary of node:cluster has the address of no worker.
  function missingIn(named) {
    if (app.known !== undefined) return [];
    return ports.filter((port) => !named.some((one) => one.port === Number(port)));
  }
}

function servingPid(status) {
  return status?.generations.find(({ state }) => state === 'serving')?.pid;
}
