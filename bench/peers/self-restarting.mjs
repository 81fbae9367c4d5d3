// Servers in other languages that replace themselves: gunicorn its workers, tableflip its only process.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { atExit, program, temporaryFolder } from '../measure/processes.mjs';
import { install, versionOf } from './debian.mjs';
import { childrenOf, isAlive } from './process-tree.mjs';
import { freePort, startServer, until } from './server.mjs';

const TABLEFLIP = 'golang-github-cloudflare-tableflip-dev';

let compiled = '';

/** @type {import('./server.mjs').PeerKind} */
export const tableflip = {
  name: 'tableflip (Go), SIGHUP',
  prepare() {
    install('golang-go', TABLEFLIP);
    const folder = temporaryFolder('moult-bench-go-');
    compiled = join(folder, 'service');
    const env = {
      ...process.env,
      GO111MODULE: 'off',
      GOPATH: '/usr/share/gocode',
      GOCACHE: join(folder, 'cache'),
      GOFLAGS: '',
    };
    execFileSync('/usr/bin/go', ['build', '-o', compiled, program('peer-service.go')], {
      env,
      stdio: 'inherit',
    });
    return versionOf(TABLEFLIP);
  },
  async start() {
    const port = await freePort();
    const pidFile = join(temporaryFolder('moult-bench-tableflip-'), 'service.pid');
    await startServer([compiled, `127.0.0.1:${port}`, pidFile], port);
    const current = () => Number(readFileSync(pidFile, 'utf8'));
    const seen = new Set();
    // The one that drains is known only from before.
    const serving = () => {
      seen.add(current());
      return [...seen].filter(isAlive);
    };
    const forget = atExit(() => process.kill(current(), 'SIGKILL'));
    return {
      port,
      serving,
      all: serving,
      async restart() {
        const before = current();
        process.kill(before, 'SIGHUP');
        await until('tableflip has another process', () => current() !== before);
      },
      async stop() {
        process.kill(current(), 'SIGTERM');
        await until('tableflip has ended', () => serving().length === 0);
        forget();
      },
    };
  },
};

/** @type {import('./server.mjs').PeerKind} */
export const gunicorn = {
  name: 'gunicorn, SIGHUP',
  prepare() {
    install('gunicorn');
    return versionOf('gunicorn');
  },
  async start() {
    const port = await freePort();
    const command = [
      ...['/usr/bin/python3', '-m', 'gunicorn', '-k', 'gthread', '-w', '2', '--threads', '64'],
      ...['--keep-alive', '75', '--graceful-timeout', '30', '--log-level', 'error', '--backlog', '1024'],
      ...['--chdir', dirname(program('peer_service.py')), '-b', `127.0.0.1:${port}`, 'peer_service:app'],
    ];
    const server = await startServer(command, port, { env: { PYTHONDONTWRITEBYTECODE: '1' } });
    const serving = () => childrenOf(server.pid);
    return {
      port,
      serving,
      all: () => [server.pid, ...serving()],
      restart: async () => process.kill(server.pid, 'SIGHUP'),
      async stop() {
        process.kill(server.pid, 'SIGTERM');
        await until('gunicorn has ended', () => !isAlive(server.pid));
      },
    };
  },
};
