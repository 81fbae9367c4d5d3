// Many agents without services in one process: what a roll costs by their number.
import { get } from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';
import { Agent } from '../../dist/fleet/agent/agent.js';
import { checked } from '../../dist/fleet/settings.js';
import { fleet } from './host.mjs';

const RESTART_MS = 500;

/** A service that does as it is told, and is none. */
class SimulatedService {
  hasDeploy = false;
  #generation = 1;
  #past = [];

  async health() {
    return {
      state: 'serving',
      generation: this.#generation,
      isSettled: true,
      label: 'simulated/server.js',
      connections: 0,
      inFlight: 0,
      restarts: this.#past.length,
      crashes: 0,
    };
  }

  async history() {
    return this.#past;
  }

  async restart(told) {
    await pause(RESTART_MS);
    told('commit');
    this.#generation += 1;
    this.#past.push({ generation: this.#generation, kind: 'restart', result: 'confirmed' });
    return { generation: this.#generation };
  }

  async rollback() {
    this.#generation += 1;
    this.#past.push({ generation: this.#generation, kind: 'rollback', result: 'confirmed' });
    return { generation: this.#generation };
  }

  async deploy() {}
}

/** Rolls fleets of growing size. @returns what was not as promised. */
export async function thousand(cluster, say, sizes) {
  const problems = [];
  const costs = [];
  for (const size of sizes) {
    const name = `f${size}`;
    const agents = Array.from({ length: size }, (_, n) => {
      const host = `web-${String(n + 1).padStart(4, '0')}`;
      const servers = [cluster.urls[n % cluster.urls.length]];
      const settings = checked(
        { servers, name, host, labels: { zone: 'abc'[n % 3] } },
        'proof',
        process.cwd(),
      );
      const log = { info() {}, warn: (what) => n === 0 && say(`  ${what}`) };
      return new Agent({ settings, name: 'api', identity: host, service: new SimulatedService(), log });
    });
    const file = { servers: cluster.urls, name };
    const path = `${process.env.TMPDIR ?? '/tmp'}/moult-fleet-${process.pid}-${name}.json`;
    const { writeFileSync, rmSync } = await import('node:fs');
    writeFileSync(path, JSON.stringify(file));
    try {
      const joiningMs = performance.now();
      for (;;) {
        const { stdout, stderr } = await fleet([path], ['status', '--json']);
        const hosts = stdout === '' ? [] : (JSON.parse(stdout).services?.[0]?.hosts ?? []);
        if (hosts.filter(({ state }) => state === 'serving').length === size) break;
        if (performance.now() - joiningMs > 240_000)
          throw new Error(`only ${hosts.length} of ${size} joined ${stderr}`);
        await pause(1000);
      }
      say(`${size} hosts have joined after ${((performance.now() - joiningMs) / 1000).toFixed(1)} s`);
      // Without a roll, too, each agent says how it is, and hears that its watches live.
      const idleSince = [await messages(cluster), performance.now()];
      await pause(10_000);
      const before = await messages(cluster);
      const beganMs = performance.now();
      const idle = (before - idleSince[0]) / ((beganMs - idleSince[1]) / 1000);
      const { code, stdout, stderr } = await fleet(
        [path],
        ['restart', 'api', '--watch-for', '2s', '--wave', '10%'],
      );
      const s = (performance.now() - beganMs) / 1000;
      const all = (await messages(cluster)) - before;
      const sent = Math.round(all - idle * s);
      if (code !== 0) problems.push(`the roll of ${size} ended with ${code}: ${stderr}${stdout.slice(-500)}`);
      const lines = stdout.split('\n').length;
      const { stdout: status } = await fleet([path], ['status']);
      const statusLines = status.split('\n').length;
      costs.push({ size, s, sent });
      say(
        `  roll: ${s.toFixed(1)} s, ${all} messages, ${sent} more than without a roll: ${(sent / size).toFixed(0)} a host, ${(sent / size / s).toFixed(1)} a second; ${lines} lines told, ${statusLines} of status`,
      );
      if (lines > 60 || statusLines > 60)
        problems.push(`${lines} lines of a roll, ${statusLines} of a status`);
    } catch (error) {
      problems.push(String(error));
    } finally {
      await Promise.all(agents.map((one) => one.end(false)));
      rmSync(path, { force: true });
    }
  }
  const [first] = costs;
  const last = costs.at(-1);
  if (first !== undefined && last !== undefined && last.sent / last.size > 3 * (first.sent / first.size))
    problems.push('messages a host grow with the number of hosts');
  return problems;
}

/** What the servers have received from clients and sent to them. */
async function messages({ monitors }) {
  const all = await Promise.all(
    monitors.map(
      (port) =>
        new Promise((resolve, reject) => {
          get({ host: '127.0.0.1', port, path: '/varz', agent: false }, async (response) => {
            let text = '';
            for await (const part of response) text += part;
            const { in_msgs, out_msgs } = JSON.parse(text);
            resolve(in_msgs + out_msgs);
          }).once('error', reject);
        }),
    ),
  );
  return all.reduce((sum, one) => sum + one, 0);
}
