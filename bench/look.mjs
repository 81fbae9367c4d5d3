// What the look from outside adds to a restart: a service with ten listeners (8 ports, 2 paths), restarted again and again.
// node bench/look.mjs [restarts]
import { execFile, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const restarts = Number(process.argv[2] ?? 20);
const cli = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'moult-look-'));
const script = join(folder, 'service.cjs');
writeFileSync(
  script,
  `const { createServer } = require('node:http');
for (let i = 0; i < 10; i += 1)
  createServer((q, r) => r.end()).listen(i < 8 ? { port: 0, host: '127.0.0.1' } : { path: '${folder}/' + i + '.sock' });`,
);
const env = { ...process.env, XDG_RUNTIME_DIR: folder };
const run = spawn(process.execPath, [cli, 'run', '--name', 'look', '--probation', '50ms', script], {
  env,
  stdio: 'ignore',
});
const moult = (...args) => promisify(execFile)(process.execPath, [cli, ...args], { env });
try {
  for (let serves = false; !serves; await pause(100))
    serves = await moult('status', 'look').then(
      ({ stdout }) => stdout.includes('serving'),
      () => false,
    );
  const looks = [];
  const waits = [];
  for (let n = 0; n < restarts; n += 1) {
    const { stdout } = await moult('restart', 'look', '--json', '--wait=confirmed');
    const events = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    const look = events.find(({ stage }) => stage === 'look');
    looks.push(look.facts.lookMs);
    // Without it the restart would be over with the stage before: it has waited for this one alone since.
    const isLast = events.findLast(
      ({ stage, at }) => stage !== undefined && at <= look.at && stage !== 'look',
    );
    waits.push(isLast.stage === 'connections' ? look.ms : 0);
  }
  const shares = (all) => {
    const sorted = [...all].sort((a, b) => a - b);
    const at = (share) => sorted[Math.round(share * (sorted.length - 1))].toFixed(1);
    return `${at(0.5)} ms [${at(0.25)} – ${at(0.75)}], ${at(0)} at least, ${at(1)} at most`;
  };
  const load = loadavg()[0].toFixed(1);
  console.log(`${restarts} restarts, 10 listeners, Node ${process.versions.node}, load ${load}`);
  console.log(`the look took               ${shares(looks)}`);
  console.log(`the restart waited for it   ${shares(waits)}`);
} finally {
  run.kill('SIGTERM');
  await new Promise((resolve) => run.once('exit', resolve));
  rmSync(folder, { recursive: true, force: true });
}
