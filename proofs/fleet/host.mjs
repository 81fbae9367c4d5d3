// A machine of a fleet: releases behind a link of its own, a service under moult, a run folder of its own.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { get } from 'node:http';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort } from '../../scripts/free-ports.mjs';

const cli = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

/**
 * Releases by their id: what they do before they listen, and the status of their answers. Each process writes which connections
 * it serves, which requests it answers with an error, and which connections the kernel knows as its own when it ends or hangs,
 * also those that it has inherited and never served: what a client sees is known by the process that did it.
 */
export function writeReleases(folder, releases) {
  for (const [id, breaks] of Object.entries(releases)) {
    mkdirSync(join(folder, 'releases', id), { recursive: true });
    const text = `import { appendFileSync, readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { createServer } from 'node:http';
let status = 200;
let health = 200;
let served = () => {};
const note = (what) =>
  appendFileSync(process.env.HOLDERS, \`\${process.hrtime.bigint()} \${process.pid} ${id} \${what}\\n\`);
// Source: proc_pid_net(5): a connection has both addresses, its state (01 is established, 08 waits for our close) and its inode.
const noteEnds = () => {
  const mine = new Set();
  for (const fd of readdirSync('/proc/self/fd')) {
    try {
      mine.add(readlinkSync('/proc/self/fd/' + fd).match(/^socket:\\[(\\d+)/)?.[1]);
    } catch {
      // The one that has read the folder.
    }
  }
  for (const line of readFileSync('/proc/self/net/tcp', 'utf8').trim().split('\\n').slice(1)) {
    const [, local, remote, state, , , , , , inode] = line.trim().split(/ +/);
    const port = (address) => Number.parseInt(address.split(':')[1], 16);
    const isClient = port(local) === Number(process.env.PORT) && ['01', '08'].includes(state);
    if (isClient && mine.has(inode)) note(\`ends \${port(remote)}\`);
  }
};
process.on('exit', () => {
  noteEnds();
  note('exits');
});
${breaks}
const server = createServer((request, response) => {
  response.statusCode = request.url === '/healthz' ? health : status;
  if (request.url !== '/healthz') served();
  if (response.statusCode >= 500) note(\`answers \${request.headers['x-moult-id']}\`);
  response.end('${id}');
});
// Nothing but what is broken ends a connection, however slow this machine is.
Object.assign(server, { keepAliveTimeout: 0, headersTimeout: 0, requestTimeout: 0 });
server.on('connection', ({ remotePort }) => note(\`has \${remotePort}\`));
server.listen(Number(process.env.PORT), '127.0.0.1');
`;
    writeFileSync(join(folder, 'releases', id, 'server.mjs'), text);
  }
}

/** One host. */
export class Host {
  constructor(folder, name, zone, servers, runOptions = []) {
    this.name = name;
    this.zone = zone;
    this.home = join(folder, name);
    this.runFolder = join(this.home, 'run');
    this.log = join(this.home, 'log');
    this.holders = join(this.home, 'holders');
    this.servers = servers;
    this.runOptions = runOptions;
    mkdirSync(this.runFolder, { recursive: true, mode: 0o700 });
    symlinkSync('../releases/1', join(this.home, 'current'));
    const deploy =
      'test "$MOULT_RELEASE" != undeployable && ln -s "../releases/$MOULT_RELEASE" new.$$ && mv -T new.$$ current';
    writeFileSync(
      join(this.home, 'fleet.json'),
      JSON.stringify({ servers, host: name, labels: { zone }, deploy }),
    );
  }

  get env() {
    const { NODE_OPTIONS, ...env } = process.env;
    return {
      ...env,
      NO_COLOR: '1',
      XDG_RUNTIME_DIR: this.runFolder,
      PORT: String(this.port),
      ZONE: this.zone,
      HOLDERS: this.holders,
    };
  }

  /** Starts `moult run`, or starts it again where it was killed: it adopts what lives. */
  async start() {
    this.port ??= await freePort();
    const output = openSync(this.log, 'a');
    const args = [
      'run',
      '--name',
      'api',
      '--fleet',
      'fleet.json',
      ...this.runOptions,
      '--',
      'current/server.mjs',
    ];
    this.child = spawn(process.execPath, [cli, ...args], {
      cwd: this.home,
      env: { ...this.env, PWD: this.home },
      stdio: ['ignore', output, output],
    });
    closeSync(output);
    await once(this.child, 'spawn');
  }

  said() {
    return existsSync(this.log) ? readFileSync(this.log, 'utf8') : '';
  }

  /** Ends all that runs on it at once, as a power failure does; its files stay. */
  async killAll() {
    const mark = `HOLDERS=${this.holders}`;
    const mine = readdirSync('/proc').filter((pid) => {
      try {
        return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(mark);
      } catch {
        return false;
      }
    });
    const { child } = this;
    const exited = once(child, 'exit');
    for (const pid of mine) process.kill(Number(pid), 'SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await exited;
  }

  /** The last agent that has joined. */
  agentPid() {
    return Number([...this.said().matchAll(/"pid":(\d+),"name":"moult","msg":"fleet: joined/g)].at(-1)?.[1]);
  }

  /** What it was told, and obeyed, in order. */
  obeyed() {
    return [...this.said().matchAll(/fleet: told to (\w+) by roll (\d+), leader (\d+)/g)].map(
      ([, action, serial, epoch]) => ({ action, serial: Number(serial), epoch: Number(epoch) }),
    );
  }

  /** What each process has written of connections (by port) and requests (by id), in order, by the monotonic clock. */
  noted() {
    const lines = readFileSync(this.holders, 'utf8').trim().split('\n');
    return lines.map((line) => {
      const [ns, pid, release, what, of] = line.split(' ');
      return { atMs: Number(ns) / 1e6, pid, release, what, of };
    });
  }

  answer() {
    return new Promise((resolve, reject) => {
      get({ host: '127.0.0.1', port: this.port, agent: false }, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (part) => {
          text += part;
        });
        response.on('end', () =>
          resolve(response.statusCode === 200 ? text : `status ${response.statusCode}`),
        );
        response.on('error', reject);
      }).on('error', reject);
    });
  }

  async stop() {
    const { child } = this;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill('SIGTERM');
    await exited;
  }

  remove() {
    rmSync(this.home, { recursive: true, force: true });
  }
}

/** Runs `moult fleet …` as an operator would. */
export function fleet(servers, args, onChild = () => {}) {
  return new Promise((resolve, reject) => {
    const { NODE_OPTIONS, ...env } = process.env;
    const child = spawn(process.execPath, [cli, 'fleet', ...args], {
      env: { ...env, MOULT_FLEET: servers.join(','), NO_COLOR: '1' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    onChild(child);
    let [stdout, stderr] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text) => {
      stderr += text;
    });
    child.once('error', reject);
    child.once('close', (code, signal) => resolve({ code: code ?? signal, stdout, stderr }));
  });
}
