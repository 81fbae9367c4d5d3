import { execFile, execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { atExit, program, temporaryFolder } from '../measure/processes.mjs';
import { childrenOf, isAlive } from './process-tree.mjs';
import { freePort, until } from './server.mjs';

const VERSION = '7.0.4';
const NAME = 'service';
/** As its documentation of graceful reloads advises: it waits for `ready`, and for what is unfinished. */
const SETTINGS = {
  exec_mode: 'cluster',
  instances: 1,
  wait_ready: true,
  listen_timeout: 10_000,
  kill_timeout: 10_000,
};

let installed = '';

/** @type {import('./server.mjs').PeerKind} */
export const pm2 = {
  name: 'PM2, pm2 reload',
  prepare() {
    const folder = temporaryFolder('moult-bench-pm2-');
    writeFileSync(join(folder, 'package.json'), '{ "private": true }\n');
    const args = [
      'install',
      '--no-audit',
      '--no-fund',
      '--ignore-scripts',
      '--loglevel=error',
      `pm2@${VERSION}`,
    ];
    execFileSync('npm', args, { cwd: folder, stdio: ['ignore', 'ignore', 'inherit'] });
    installed = join(folder, 'node_modules/pm2');
    return JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8')).version;
  },
  async start() {
    const home = temporaryFolder('moult-bench-pm2-home-');
    const port = await freePort();
    const env = { ...process.env, PM2_HOME: home, PM2_DISABLE_VERSION_CHECK: 'true', NO_COLOR: '1' };
    const run = (/** @type {string[]} */ ...args) =>
      promisify(execFile)(process.execPath, [join(installed, 'bin/pm2'), ...args], { env });
    const app = { name: NAME, script: program('peer-service.mjs'), ...SETTINGS, env: { PORT: String(port) } };
    writeFileSync(join(home, 'service.config.json'), JSON.stringify({ apps: [app] }));
    await run('start', join(home, 'service.config.json'));
    const daemon = Number(readFileSync(join(home, 'pm2.pid'), 'utf8'));
    const forget = atExit(() => {
      for (const pid of [daemon, ...childrenOf(daemon)]) process.kill(pid, 'SIGKILL');
    });
    const serving = () => childrenOf(daemon);
    return {
      port,
      serving,
      all: () => [daemon, ...serving()],
      restart: () => run('reload', NAME),
      async stop() {
        await run('kill');
        await until('the daemon of PM2 has ended', () => !isAlive(daemon));
        forget();
      },
    };
  },
};
