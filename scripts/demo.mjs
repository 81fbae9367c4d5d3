// `npm run demo`: builds moult if needed, starts examples/demo under it, loads it, deploys five versions by
// switching a link and restarting, and shows that no request failed and no connection was lost.
import { execFileSync } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

const RELEASES = 6;
const root = fileURLToPath(new URL('..', import.meta.url));
execFileSync(process.execPath, [path.join(root, 'scripts/build.mjs')], {
  cwd: root,
  stdio: ['ignore', 2, 2],
});

const { screenOf } = await import('../dist/verify/report/report-screen.js');
const { verify } = await import('../dist/verify/verify.js');
const { startUnderMoult } = await import('../dist/verify/moult/under-moult.js');
const { renderReport } = await import('../dist/verify/report/report.js');
const { describeOutcome } = await import('../dist/verify/report/progress.js');
const { drawShares } = await import('../dist/verify/report/shares.js');
const { print } = await import('../dist/terminal/print.js');

const screen = screenOf(process.stdout, process.env);
const { colours } = screen;
const say = (text = '') => print(text);

/** Lays out releases/1 to 6, each the demo service with another version. */
async function layOutReleases(folder) {
  const source = path.join(root, 'examples/demo');
  const manifest = JSON.parse(await readFile(path.join(source, 'package.json'), 'utf8'));
  for (let release = 1; release <= RELEASES; release += 1) {
    const to = path.join(folder, 'releases', String(release));
    await mkdir(to, { recursive: true });
    await cp(path.join(source, 'server.js'), path.join(to, 'server.js'));
    await writeFile(
      path.join(to, 'package.json'),
      JSON.stringify({ ...manifest, version: `${release}.0.0` }),
    );
  }
}

/** Puts a release behind the `current` link, in one step. */
async function deploy(folder, release) {
  await symlink(path.join('releases', String(release)), path.join(folder, 'next'));
  await rename(path.join(folder, 'next'), path.join(folder, 'current'));
}

async function demo(folder) {
  await layOutReleases(folder);
  await deploy(folder, 1);
  const script = path.join(folder, 'current', 'server.js');
  const service = await startUnderMoult({ command: [script], env: { PORT: '0' } });
  try {
    say(
      `${colours.bold('$ moult run current/server.js')}   ${colours.dim(`(v1, port ${service.target.port})`)}`,
    );
    say('100 kept-alive, 20 pipelining, 20 slow-body and 20 new-connection clients, no retries');
    say();
    let release = 1;
    const deployed = {
      ...service,
      restart: async () => {
        await deploy(folder, release + 1);
        const outcome = await service.restart();
        if (outcome.ok) release += 1;
        return outcome;
      },
    };
    const interrupted = new AbortController();
    process.once('SIGINT', () => interrupted.abort());
    return await verify({
      service: deployed,
      load: { check: 'echo' },
      restarts: RELEASES - 1,
      warmUpMs: 2_000,
      steadyMs: 1_800,
      signal: interrupted.signal,
      onEvent: (event) => {
        if (event.type !== 'restarted') return;
        const { outcome, beginMs, endMs } = event.record;
        const versions = outcome.ok ? `v${release - 1} → v${release}` : `v${release} → v${release + 1}`;
        const line = `${screen.unicode ? versions : versions.replace('→', '->')}  ${describeOutcome(outcome, endMs - beginMs)}`;
        say(outcome.ok ? line : colours.red(line));
      },
    });
  } finally {
    await service.stop();
  }
}

const folder = await mkdtemp(path.join(os.tmpdir(), 'moult-demo-'));
try {
  const result = await demo(folder);
  say();
  for (const line of drawShares(result.load.timeline, screen)) say(line);
  say();
  say(renderReport(result, screen).trimEnd());
  process.exitCode = result.ok ? 0 : 1;
} catch (error) {
  process.stderr.write(`${error.code ?? 'error'}: ${error.message}\n`);
  process.exitCode = 1;
} finally {
  await rm(folder, { recursive: true, force: true });
}
