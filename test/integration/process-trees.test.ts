import assert from 'node:assert/strict';
import dgram from 'node:dgram';
import { once } from 'node:events';
import { readdirSync, readFileSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import net from 'node:net';
import path from 'node:path';
import { describe, it } from 'node:test';
import { unseenListeners } from '#moult/supervisor/reachability/unseen-listeners.js';
import { freeDatagramPort, freePorts } from '../support/free-ports.js';
import { RawClient } from './raw-client.js';
import { Supervised, until, withFolder, withService } from './supervised.js';

const runOptions = ['--probation', '100ms', '--drain-timeout', '3s', '--ready-timeout', '15s'];

/** Listens on the ports and paths that its arguments name (udp:PORT for datagrams), and says which process it is. */
const SERVER = `
  const http = require('node:http');
  const dgram = require('node:dgram');
  for (const place of process.argv.slice(2)) {
    if (place.startsWith('udp:')) {
      const socket = dgram.createSocket('udp4');
      socket.on('message', (_, from) => socket.send(String(process.pid), from.port, from.address));
      socket.bind(Number(place.slice(4)), '127.0.0.1');
      continue;
    }
    const server = http.createServer({ keepAliveTimeout: 600_000 }, (_, response) =>
      response.end(String(process.pid)));
    if (process.env.UNLINKS && place.startsWith('/')) require('node:fs').rmSync(place, { force: true });
    if (place.startsWith('/')) server.listen(place);
    else server.listen({ port: Number(place), host: '127.0.0.1', exclusive: 'EXCLUSIVE' in process.env, reusePort: 'REUSE_PORT' in process.env });
  }`;

/** Starts what its arguments say, and ends with it. */
const launcher = (start: string) => `
  const { spawn, spawnSync, fork, execFileSync } = require('node:child_process');
  const [, , ...ports] = process.argv;
  const server = __dirname + '/server.cjs';
  const child = (${start})();
  if (child.on) {
    for (const name of ['SIGTERM', 'SIGINT']) process.on(name, () => child.kill(name));
    child.on('exit', (code) => process.exit(code ?? 1));
  }`;

const SERVICE_WITH_CHILD = `
  const http = require('node:http');
  const { fork } = require('node:child_process');
  const [, , port, childPort] = process.argv;
  const answer = (_, response) => response.end(String(process.pid));
  if (childPort === undefined) {
    http.createServer({ keepAliveTimeout: 600_000 }, answer).listen(Number(port), '127.0.0.1');
    process.on('disconnect', () => process.exit());
  } else {
    const start = () => fork(__filename, [childPort]);
    if (process.env.CHILD_FIRST) start().on('spawn', () => setTimeout(listen, 500));
    else listen(start);
    function listen(then) {
      http.createServer({ keepAliveTimeout: 600_000 }, answer).listen(Number(port), '127.0.0.1', then);
    }
  }`;

/**
 * At a request opens a port for a moment, opens and closes another one all the time, and then starts a process that moult is
 * not let into.
 */
const MOMENTS = `
  const http = require('node:http');
  const net = require('node:net');
  const { spawn } = require('node:child_process');
  const [, , port, tried, unseen] = process.argv;
  const listens = "require('net').createServer().listen(process.argv[1], '127.0.0.1');" +
    "process.stdin.resume().on('end', () => process.exit())";
  const tryPort = () => {
    const server = net.createServer(() => {}).listen(Number(tried), '127.0.0.1', () => setTimeout(() =>
      server.close(() => setImmediate(tryPort)), 5));
  };
  http.createServer({ keepAliveTimeout: 600_000 }, (_, response) => {
    const moment = net.createServer(() => {}).listen(0, '127.0.0.1', () => {
      tryPort();
      spawn('env', ['-i', process.execPath, '-e', listens, unseen], { stdio: ['pipe', 'ignore', 'inherit'] });
      response.end(String(moment.address().port));
    });
  }).listen(Number(port), '127.0.0.1');`;

/** A port, or a path. */
type Place = number | string;

const targetOf = (place: Place) =>
  typeof place === 'number' ? { host: '127.0.0.1', port: place } : { socketPath: place };

async function whoAnswers(place: Place): Promise<string> {
  const client = await RawClient.connect(targetOf(place));
  try {
    return (await client.get('/')).body.toString();
  } finally {
    client.close();
  }
}

async function isUp(place: Place): Promise<void> {
  await until(`${place} answers`, () => whoAnswers(place).catch(() => undefined));
}

/** Waits until somebody accepts there; the program there need not answer. */
async function isAccepted(port: number): Promise<void> {
  await until(`${port} is accepted`, async () => {
    const client = net.connect(port, '127.0.0.1');
    return once(client, 'connect').then(
      () => client.destroy(),
      () => undefined,
    );
  });
}

async function whoReceives(port: number): Promise<string> {
  const client = dgram.createSocket('udp4');
  // One that is sent before anybody receives is lost, as it is without moult.
  const sends = setInterval(() => client.send('who?', port, '127.0.0.1'), 100);
  try {
    const [said] = (await once(client, 'message')) as [Buffer];
    return String(said);
  } finally {
    clearInterval(sends);
    client.close();
  }
}

/** Restarts twice: at each port another process answers each time, on a connection that stays and on new ones. */
async function allChangesHands(service: Supervised, ports: readonly Place[]): Promise<void> {
  for (const port of ports) await isUp(port);
  const kept = await Promise.all(ports.map((port) => RawClient.connect(targetOf(port))));
  const ask = () => Promise.all(kept.map(async (client) => (await client.get('/')).body.toString()));
  let before = await ask();
  for (let n = 0; n < 2; n += 1) {
    await service.restart();
    const after = await ask();
    after.forEach((pid, i) => {
      assert.notEqual(pid, before[i], `port ${ports[i]} has changed hands`);
    });
    assert.deepEqual(await Promise.all(ports.map(whoAnswers)), after);
    before = after;
  }
  for (const client of kept) client.close();
  await service.alone();
}

interface Tree {
  readonly files: Readonly<Record<string, string>>;
  readonly command: (ports: readonly string[]) => readonly string[];
  readonly ports: number;
  /** How many paths follow the ports. */
  readonly paths?: number;
  readonly env?: Readonly<Record<string, string>>;
}

const server = { 'server.cjs': SERVER };
const trees: Record<string, Tree> = {
  'two services that a shell starts': {
    files: server,
    command: ([a, b]) => ['sh', '-c', `node server.cjs ${a} & node server.cjs ${b} & wait`],
    ports: 2,
  },
  'three services in nested shells, one of which comes late': {
    files: server,
    command: ([a, b, c]) => [
      'sh',
      '-c',
      `sh -c "node server.cjs ${a}; exit 1" & sh -c "sleep 0.5; sh -c 'node server.cjs ${b} & wait'" & node server.cjs ${c} & wait`,
    ],
    ports: 3,
  },
  'a service and its forked child with a port': {
    files: { 'service.cjs': SERVICE_WITH_CHILD },
    command: (ports) => ['service.cjs', ...ports],
    ports: 2,
  },
  'a service whose forked child listens first': {
    files: { 'service.cjs': SERVICE_WITH_CHILD },
    command: (ports) => ['node', 'service.cjs', ...ports],
    ports: 2,
    env: { CHILD_FIRST: '1' },
  },
  'a launcher in Node with two services': {
    files: {
      ...server,
      'launcher.cjs': launcher(
        "() => { spawn(process.execPath, [server, ports[1]], { stdio: 'inherit' }); return spawn(process.execPath, [server, ports[0]]); }",
      ),
    },
    command: (ports) => ['launcher.cjs', ...ports],
    ports: 2,
  },
};

const paths = {
  'two services that a shell starts, one at a path': (places: readonly string[]) => [
    'sh',
    '-c',
    `node server.cjs ${places[0]} & node server.cjs ${places[1]} & wait`,
  ],
  'a launcher in Node with two services, one at a path': (places: readonly string[]) => [
    'launcher.cjs',
    ...places,
  ],
};
for (const [what, command] of Object.entries(paths)) {
  for (const env of [{}, { UNLINKS: '1' }]) {
    const how = 'UNLINKS' in env ? ' that it removes first' : '';
    trees[what + how] = {
      files: {
        ...server,
        'launcher.cjs': launcher(
          "() => { spawn(process.execPath, [server, ports[1]], { stdio: 'inherit' }); return spawn(process.execPath, [server, ports[0]]); }",
        ),
      },
      command,
      ports: 1,
      paths: 1,
      env,
    };
  }
}

const launchers = {
  spawn: "() => spawn(process.execPath, [server, ...ports], { stdio: 'inherit' })",
  'spawn with an environment of its own':
    "() => spawn(process.execPath, [server, ...ports], { env: { A: 'b' } })",
  'spawn with NODE_OPTIONS of its own':
    "() => spawn(process.execPath, [server, ...ports], { env: { ...process.env, NODE_OPTIONS: '--no-deprecation' } })",
  'spawn of a shell':
    "() => spawn('exec node ' + [server, ...ports].join(' '), { shell: true, stdio: 'inherit' })",
  fork: '() => fork(server, ports)',
  'fork without flags': '() => fork(server, ports, { execArgv: [] })',
  spawnSync: "() => spawnSync(process.execPath, [server, ...ports], { stdio: 'inherit' })",
};
for (const [how, start] of Object.entries(launchers)) {
  trees[`a launcher in Node that uses ${how}`] = {
    files: { ...server, 'launcher.cjs': launcher(start) },
    command: (ports) => ['node', 'launcher.cjs', ...ports],
    ports: 1,
  };
}

describe('what listens in the tree of a service changes hands', () => {
  for (const [what, { files, command, ports: count, paths: ofPaths = 0, env = {} }] of Object.entries(
    trees,
  )) {
    it(`of ${what}`, async () => {
      await withFolder(async (folder) => {
        for (const [name, text] of Object.entries(files)) await writeFile(path.join(folder, name), text);
        const ports = await freePorts(count);
        const sockets = Array.from({ length: ofPaths }, (_, n) => path.join(folder, `${n}.sock`));
        const places = [...ports, ...sockets];
        const options = { command: command(places.map(String)), cwd: folder, env, runOptions };
        await withService(options, (service) => allChangesHands(service, places));
      });
    });
  }

  for (const [what, start] of Object.entries({
    'another process of a shell': (port: number, udp: number) => [
      'sh',
      '-c',
      `node server.cjs ${port} & sleep 0.5; node server.cjs udp:${udp} & wait`,
    ],
    'a forked helper': (port: number, udp: number) => ['service.cjs', String(port), `udp:${udp}`],
  })) {
    it(`of ${what} that receives datagrams: also after a crash`, async () => {
      await withFolder(async (folder) => {
        const service = `
          const place = process.argv.pop();
          require('./server.cjs');
          const helper = require('node:child_process').fork('./server.cjs', [place]);
          process.on('SIGTERM', () => { helper.kill(); process.exit(); });`;
        await writeFile(path.join(folder, 'server.cjs'), SERVER);
        await writeFile(path.join(folder, 'service.cjs'), service);
        const [port = 0, udp = 0] = await freePorts(2);
        const options = { command: start(port, udp), cwd: folder, runOptions };
        await withService(options, async (supervised) => {
          const first = await whoReceives(udp);
          await isUp(port);
          await supervised.restart();
          const second = await whoReceives(udp);
          assert.notEqual(second, first);
          await supervised.alone();
          process.kill((await supervised.current()).pid, 'SIGKILL');
          await until('another one receives', async () => (await whoReceives(udp)) !== second);
          assert.doesNotMatch(supervised.output, /EADDRINUSE/);
        });
      });
    });
  }
});

describe('what a tool of the tree listens at for itself alone', () => {
  it('is no part of what changes hands, and is not told of', async () => {
    await withFolder(async (folder) => {
      // As forever does: a path with the time in it, opened before the service is started.
      const keeper = `
        require('node:net').createServer().listen(__dirname + '/worker.' + Date.now() + '0aB.sock');
        require('node:net').createServer().listen(__dirname + '/keeper-' + process.pid + '.sock');
        setTimeout(() => {
          const child = require('node:child_process').spawn(process.execPath, ['server.cjs', process.argv[2]]);
          process.on('SIGTERM', () => child.kill());
          child.on('exit', () => process.exit());
        }, 300);`;
      await writeFile(path.join(folder, 'server.cjs'), SERVER);
      await writeFile(path.join(folder, 'keeper.cjs'), keeper);
      const [port = 0] = await freePorts(1);
      const command = ['node', 'keeper.cjs', String(port)];
      await withService({ command, cwd: folder, runOptions }, async (service) => {
        await allChangesHands(service, [port]);
        assert.doesNotMatch(service.output, /does not see/);
      });
    });
  });

  it('ends the start where it is PM2, with what to do instead', async () => {
    await withFolder(async (folder) => {
      const pm2 = `
        process.title = 'PM2 v6.0.0: God Daemon';
        require('node:net').createServer().listen(__dirname + '/rpc.sock');`;
      await writeFile(path.join(folder, 'god.cjs'), pm2);
      const options = { command: ['god.cjs'], cwd: folder, runOptions, waits: false };
      const service = await Supervised.start(options);
      assert.notEqual(await service.ended, 0);
      assert.match(service.output, /moult cannot run PM2.*moult run -- server\.js/);
    });
  });
});

describe('a preload of the user that listens', () => {
  const preload = (port: number | undefined) => `
    const server = require('node:http').createServer({ keepAliveTimeout: 600_000 }, (_, response) => response.end(String(process.pid)));
    server.listen(${port}, '127.0.0.1').on('error', (error) => console.error('PRELOAD', error.code));`;

  for (const where of ['an environment file', 'the environment of moult run'] as const) {
    it(`belongs to the service, from NODE_OPTIONS in ${where}`, async () => {
      await withFolder(async (folder) => {
        const [port, metrics] = await freePorts(2);
        const file = path.join(folder, 'metrics.cjs');
        await writeFile(file, preload(metrics));
        await writeFile(path.join(folder, 'server.cjs'), SERVER);
        await writeFile(path.join(folder, 'service.env'), `NODE_OPTIONS=--require ${file}\n`);
        const isFile = where === 'an environment file';
        const options = {
          command: ['server.cjs', String(port)],
          cwd: folder,
          runOptions: [...runOptions, ...(isFile ? ['--env-file', 'service.env'] : [])],
          ...(isFile ? {} : { nodeOptions: `--require=${file}` }),
        };
        await withService(options, async (service) => {
          await isUp(port ?? 0);
          const { pid } = await service.current();
          assert.equal(await whoAnswers(metrics ?? 0), String(pid));
          await allChangesHands(service, [port ?? 0, metrics ?? 0]);
          await service.moult('upgrade', service.name);
          await until(
            'the supervisor is back',
            async () => (await service.status().catch(() => undefined)) ?? false,
          );
          await allChangesHands(service, [port ?? 0, metrics ?? 0]);
          assert.doesNotMatch(service.output, /PRELOAD/);
        });
      });
    });
  }
});

describe('a port that a worker of node:cluster opens for itself', () => {
  const CLOSING = { headers: { connection: 'close' } };
  const PRIMARY = `
    const cluster = require('node:cluster');
    const { PORTS, PRIMARY_PORT } = process.env;
    cluster.setupPrimary({ exec: __dirname + '/server.cjs', execArgv: [] });
    for (const port of PORTS.split(' ')) {
      cluster.setupPrimary({ args: [port] });
      cluster.fork();
    }
    if (PRIMARY_PORT) require('node:http').createServer((_, response) => response.end()).listen(PRIMARY_PORT, '127.0.0.1');`;
  const hasReusePort = Number(process.versions.node.split('.')[0]) >= 24;
  for (const [what, variable, hasOwn] of [
    ['', 'EXCLUSIVE', true],
    [', of a primary that opens nothing', 'EXCLUSIVE', false],
    [' and shares with others (reusePort)', 'REUSE_PORT', true],
  ] as const)
    it(`changes hands${what}`, { skip: variable === 'REUSE_PORT' && !hasReusePort }, async () => {
      await withFolder(async (folder) => {
        await writeFile(path.join(folder, 'server.cjs'), SERVER);
        await writeFile(path.join(folder, 'primary.cjs'), PRIMARY);
        const [own = 0, a = 0, other = 0] = await freePorts(3);
        const b = variable === 'REUSE_PORT' ? a : other;
        const env = {
          PORTS: `${a} ${b}`,
          [variable]: '1',
          ...(hasOwn ? { PRIMARY_PORT: String(own) } : {}),
        };
        await withService({ command: ['primary.cjs'], cwd: folder, env, runOptions }, async (service) => {
          const answers = async () =>
            Promise.all(
              [a, b].map(async (port) => (await fetch(`http://127.0.0.1:${port}/`, CLOSING)).text()),
            );
          await until('both listen', () => answers().catch(() => undefined));
          for (let restart = 1; restart <= 2; restart += 1) {
            const before = await answers();
            await service.restart('--wait=confirmed');
            await service.alone();
            for (const pid of await answers())
              assert.ok(!before.includes(pid), 'nobody of the release before');
          }
          process.kill((await service.current()).pid, 'SIGKILL');
          await service.logs(/generation 4 serves/);
          await answers();
          assert.doesNotMatch(service.output, /does not see/);
        });
      });
    });
});

describe('what moult does not see in the tree of a service', () => {
  const python = (port: number) =>
    `python3 -c "import socket,time; s=socket.socket(); s.setsockopt(1,2,1); s.bind(('127.0.0.1',${port})); s.listen(); time.sleep(600)"`;
  const unseen: Record<string, (a: number, b: number) => readonly string[]> = {
    'a program in another language': (a, b) => ['sh', '-c', `${python(b)} & exec node server.cjs ${a}`],
    'datagrams of a program in another language': (a, b) => [
      'sh',
      '-c',
      `python3 -c "import socket,time; s=socket.socket(type=socket.SOCK_DGRAM); s.bind(('127.0.0.1',${b})); time.sleep(600)" & exec node server.cjs ${a}`,
    ],
    'a Node process whose environment was emptied': (a, b) => [
      'sh',
      '-c',
      `env -i "$(command -v node)" server.cjs ${b} & exec node server.cjs ${a}`,
    ],
    'a detached process': (a, b) => [
      'node',
      '-e',
      `process.argv = ['node', 'server.cjs', '${a}']; require('./server.cjs');
       setTimeout(() => require('child_process').spawn(process.execPath, ['server.cjs', '${b}'],
         { detached: true, stdio: 'ignore' }), 500)`,
    ],
    'a Unix socket of a helper': (a, b) => [
      'sh',
      '-c',
      `exec node -e "process.argv = ['node', 'server.cjs', '${a}']; require('./server.cjs');
       const helper = 'require(\\'net\\').createServer().listen(\\'helper-${b}.sock\\')';
       setTimeout(() => require('child_process').spawn(process.execPath, ['-e', helper], { stdio: 'ignore' }), 500)"`,
    ],
    'all that there is, because moult is not let in': (_, b) => ['sh', '-c', `exec ${python(b)}`],
  };
  for (const [what, command] of Object.entries(unseen)) {
    it(`is told of at the start, by its address and process: ${what}`, async () => {
      await withFolder(async (folder) => {
        await writeFile(path.join(folder, 'server.cjs'), SERVER);
        const [a = 0, any = 0] = await freePorts(2);
        const b = what.startsWith('datagrams') ? await freeDatagramPort() : any;
        const options = { command: command(a, b), cwd: folder, runOptions, waits: false };
        const service = await Supervised.start(options);
        try {
          const told = await service.logs(
            new RegExp(`process \\d+ \\(.*\\) listens on \\S*${b}\\S*, which moult does not see`),
          );
          assert.match(told, /the new release finds it in use/);
          const count = () => service.log().filter((line) => line.includes('does not see')).length;
          assert.equal(count(), 1);
        } finally {
          await service.kill();
          // One with an environment of its own has no mark to be found by.
          for (const pid of processesIn(folder)) process.kill(pid, 'SIGKILL');
        }
      });
    });
  }

  it('fails a restart that would leave it with nobody, before clients notice, unless that is allowed', async () => {
    await withFolder(async (folder) => {
      await writeFile(path.join(folder, 'server.cjs'), SERVER);
      const [a = 0, b = 0] = await freePorts(2);
      const command = ['sh', '-c', `${python(b)} & exec node server.cjs ${a}`];
      const service = await Supervised.start({ command, cwd: folder, runOptions });
      try {
        await service.logs(/does not see/);
        const { pid } = await service.current();
        const { code, stderr } = await service.moult('restart', service.name);
        assert.equal(code, 1, stderr);
        assert.match(stderr, /MOULT_NOT_REACHED/);
        assert.match(stderr, new RegExp(`127\\.0\\.0\\.1:${b}[^]*--allow-fewer-listeners`));
        assert.match(stderr, /serving now: the predecessor/);
        assert.equal(await service.alone(), pid);
        await service.restart('--wait=confirmed', '--allow-fewer-listeners');
        assert.notEqual(await service.alone(), pid);
      } finally {
        await service.kill();
        for (const one of processesIn(folder)) process.kill(one, 'SIGKILL');
      }
    });
  });

  // A program that opens the port when it is free, or where asked does not.
  const helped = async (
    options: readonly string[],
    use: (it: {
      service: Supervised;
      port: number;
      helper: (does: 'shares' | 'opens' | 'nothing') => void;
      hasRead: (count: number) => Promise<boolean>;
      second: () => Promise<void>;
    }) => Promise<void>,
  ) =>
    withFolder(async (folder) => {
      await writeFile(path.join(folder, 'server.cjs'), SERVER);
      const helps = path.join(folder, 'helps');
      const helper = (does: string) => writeFileSync(helps, does);
      // A program may begin long after the process that starts it is ready.
      const hasRead = (count: number) =>
        until(`${count} helpers have begun`, () => {
          const lines = readFileSync(path.join(folder, 'read'), 'utf8').split('\n');
          return lines.length > count;
        });
      await writeFile(
        path.join(folder, 'helper.py'),
        `import os, socket, sys, time
does = open('helps').read()
open('read', 'a').write(does + '\\n')
if does != 'nothing':
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if does == 'shares': s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    s.bind(('127.0.0.1', int(sys.argv[1])))
    s.listen()
parent = os.getppid()
while os.getppid() == parent: time.sleep(0.05)
`,
      );
      const [a = 0, port = 0] = await freePorts(2);
      helper('shares');
      // Each a release of its own, which it is for the next supervisor, too.
      const link = path.join(folder, 'current.cjs');
      const release = async (name: string) => {
        const starts = `require('child_process').spawn('python3', ['helper.py', '${port}'], { stdio: 'ignore' });`;
        await writeFile(path.join(folder, `${name}.cjs`), `${starts}require('./server.cjs');`);
        rmSync(link, { force: true });
        symlinkSync(`${name}.cjs`, link);
      };
      await release('first');
      const command = ['current.cjs', String(a)];
      const service = await Supervised.start({
        command,
        cwd: folder,
        runOptions: [...runOptions, ...options],
      });
      try {
        await service.logs(/does not see/);
        await use({ service, port, helper, hasRead, second: () => release('second') });
      } finally {
        await service.kill();
        for (const one of processesIn(folder)) process.kill(one, 'SIGKILL');
      }
    });

  it('fails a restart in the first moment of a service, too', async () => {
    await withFolder(async (folder) => {
      await writeFile(path.join(folder, 'server.cjs'), SERVER);
      const [a = 0, b = 0] = await freePorts(2);
      // The program has opened its port when the service begins.
      const command = ['sh', '-c', `${python(b)} & sleep 1; exec node server.cjs ${a}`];
      const service = await Supervised.start({ command, cwd: folder, runOptions });
      try {
        const { code, stderr } = await service.moult('restart', service.name);
        assert.equal(code, 1, stderr);
        assert.match(stderr, new RegExp(`127\\.0\\.0\\.1:${b}[^]*MOULT_NOT_REACHED`));
      } finally {
        await service.kill();
        for (const one of processesIn(folder)) process.kill(one, 'SIGKILL');
      }
    });
  });

  it('is missed also where it opened after the restart, and is found before the end of probation', async () => {
    await withFolder(async (folder) => {
      const [a = 0, b = 0] = await freePorts(2);
      // It opens its port when it is told to, and that of the next release, which is slower, finds it in use.
      await writeFile(path.join(folder, 'server.cjs'), SERVER);
      await writeFile(
        path.join(folder, 'helper.py'),
        `import os, socket, sys, time
parent = os.getppid()
while os.getppid() == parent and not os.path.exists('opens'): time.sleep(0.05)
time.sleep(int(sys.argv[1]))
s = socket.socket()
s.bind(('127.0.0.1', ${b}))
s.listen()
while os.getppid() == parent: time.sleep(0.05)
`,
      );
      const release = async (slowS: number) => {
        const helper = `require('child_process').spawn('python3', ['helper.py', '${slowS}'], { stdio: 'ignore' });`;
        await writeFile(path.join(folder, 'main.cjs'), `${helper}require('./server.cjs');`);
      };
      await release(0);
      const service = await Supervised.start({
        command: ['main.cjs', String(a)],
        cwd: folder,
        runOptions: [...runOptions, '--probation', '8s'],
      });
      try {
        const { pid } = await service.current();
        await release(2);
        await service.restart();
        writeFileSync(path.join(folder, 'opens'), '');
        await service.logs(
          new RegExp(`generation 2 was undone .*127\\.0\\.0\\.1:${b}[^]*generation 1 serves again`),
        );
        assert.equal(await service.alone(), pid);
        await isAccepted(b);
      } finally {
        await service.kill();
        for (const one of processesIn(folder)) process.kill(one, 'SIGKILL');
      }
    });
  });

  it('fails a rollback whose release does not listen there again, also after an upgrade, unless that is allowed', () =>
    helped([], async ({ service, port, helper, second }) => {
      await second();
      await service.restart('--wait=confirmed');
      helper('nothing');
      for (const isUpgraded of [false, true]) {
        if (isUpgraded) await service.moult('upgrade', service.name);
        const { pid } = await service.current();
        const { code, stdout, stderr } = await service.moult('rollback', service.name);
        assert.equal(code, 1, stdout);
        assert.match(stderr, new RegExp(`127\\.0\\.0\\.1:${port}[^]*MOULT_NOT_REACHED`));
        assert.match(stderr, /moult rollback --allow-fewer-listeners/);
        assert.equal(await service.alone(), pid);
      }
      const { code, stdout } = await service.moult('rollback', '--allow-fewer-listeners', service.name);
      assert.equal(code, 0);
      assert.match(stdout, /✓ the release before was started again/);
    }));

  it('lets a rollback go where its release listens there again, or never did', () =>
    helped([], async ({ service, port, helper, hasRead }) => {
      helper('nothing');
      await service.restart('--wait=confirmed', '--allow-fewer-listeners');
      await hasRead(2);
      await service.alone();
      helper('opens');
      const { code, stderr } = await service.moult('rollback', service.name);
      assert.equal(code, 0, stderr);
      await isAccepted(port);
      await service.logs(/generation 3 took over/);
    }));

  it('fails a restart of a service that runs alone, and the one before serves again', () =>
    helped(['--changeover', 'exclusive'], async ({ service, port, helper, hasRead }) => {
      helper('nothing');
      const restarted = service.moult('restart', service.name);
      await hasRead(2);
      helper('opens');
      const { code, stderr } = await restarted;
      assert.equal(code, 1, stderr);
      assert.match(stderr, new RegExp(`127\\.0\\.0\\.1:${port}[^]*MOULT_NOT_REACHED`));
      await isAccepted(port);
    }));

  it('is named in the log where it is missing after a crash', () =>
    helped([], async ({ service, port, helper }) => {
      helper('nothing');
      process.kill((await service.current()).pid, 'SIGKILL');
      await service.logs(
        new RegExp(
          `generation 2 does not listen on 127\\.0\\.0\\.1:${port}, where generation 1 of the same release did`,
        ),
      );
    }));

  it('keeps no restart where a process stays when its service ends', async () => {
    await withFolder(async (folder) => {
      await writeFile(path.join(folder, 'server.cjs'), SERVER);
      const [a = 0, b = 0] = await freePorts(2);
      const start = `process.argv = ['node', 'server.cjs', '${a}']; require('./server.cjs');
        setTimeout(() => require('child_process').spawn(process.execPath, ['server.cjs', '${b}'],
          { detached: true, stdio: 'ignore' }).unref(), 500);`;
      await writeFile(path.join(folder, 'main.cjs'), start);
      const service = await Supervised.start({ command: ['main.cjs'], cwd: folder, runOptions });
      try {
        await service.logs(/does not see/);
        await service.restart('--wait=confirmed');
      } finally {
        await service.kill();
        for (const one of processesIn(folder)) process.kill(one, 'SIGKILL');
      }
    });
  });

  it('is told of once where clients come to a path with the number of a process, and not of others', async () => {
    await withFolder(async (folder) => {
      const paths = `
        const fs = require('node:fs');
        const own = require('node:path').join(__dirname, 'app.' + process.pid + '.sock');
        require('node:net').createServer(() => {}).listen(own, () => {
          fs.symlinkSync(own, __dirname + '/next');
          fs.renameSync(__dirname + '/next', __dirname + '/app.sock');
        });
        const moved = __dirname + '/next.' + process.pid + '.sock';
        require('node:net').createServer(() => {}).listen(moved, () => fs.renameSync(moved, __dirname + '/moved.sock'));
        const twice = __dirname + '/twice.' + process.pid + '.sock';
        require('node:net').createServer(() => {}).listen(twice, () => {
          fs.linkSync(twice, __dirname + '/next');
          fs.renameSync(__dirname + '/next', __dirname + '/known.sock');
        });
        const gone = __dirname + '/gone.' + process.pid + '.sock';
        require('node:net').createServer(() => {}).listen(gone, () => fs.unlinkSync(gone));
        require('node:net').createServer(() => {}).listen(__dirname + '/helper.' + process.pid + '.sock');`;
      await writeFile(path.join(folder, 'server.cjs'), `${SERVER}${paths}`);
      const [port] = await freePorts(1);
      const options = { command: ['server.cjs', String(port)], cwd: folder, runOptions };
      await withService(options, async (service) => {
        const told = await service.logs(/app\.\d+\.sock, to which the link \S+app\.sock leads/);
        assert.match(told, /after a crash, clients are refused/);
        await service.logs(/next\.\d+\.sock, which has been renamed since/);
        await service.logs(/twice\.\d+\.sock, which has another name as well/);
        await service.restart('--wait=confirmed');
        await service.alone();
        assert.equal(service.log().filter((line) => /\.sock/.test(line)).length, 3, service.output);
      });
    });
  });

  it('is nothing where moult sees all', async () => {
    await withFolder(async (folder) => {
      await writeFile(path.join(folder, 'server.cjs'), SERVER);
      const ports = await freePorts(2);
      const command = ['sh', '-c', `node server.cjs ${ports[0]} & node server.cjs ${ports[1]} & wait`];
      await withService({ command, cwd: folder, runOptions }, async (service) => {
        for (const port of ports) await isUp(port);
        const sure = unseenListeners(service.pid, [], folder).map(({ address }) => address);
        assert.deepEqual(
          sure.filter((one) => one.startsWith('127.')).sort(),
          ports.map((port) => `127.0.0.1:${port}`).sort(),
        );
        await service.restart();
        await service.alone();
        assert.ok(!service.log().some((line) => line.includes('does not see')), service.output);
      });
    });
  });

  it('is no port for a moment, and none that is opened and closed all the time', async () => {
    await withFolder(async (folder) => {
      const [port = 0, tried = 0, unseen = 0] = await freePorts(3);
      await writeFile(path.join(folder, 'server.cjs'), SERVER);
      await writeFile(path.join(folder, 'moments.cjs'), MOMENTS);
      const command = ['node', 'moments.cjs', String(port), String(tried), String(unseen)];
      await withService({ command, cwd: folder, runOptions }, async (service) => {
        const momentary = await (await fetch(`http://127.0.0.1:${port}/`)).text();
        // It listens since after the others: a look that has found it has met them too.
        await service.logs(new RegExp(`listens on 127\\.0\\.0\\.1:${unseen}, which moult does not see`));
        const told = service.log().filter((line) => line.includes('does not see'));
        assert.equal(told.length, 1, told.join('\n'));
        assert.ok(!told.some((line) => line.includes(`:${momentary},`)));
      });
    });
  });
});

/** The processes whose working directory this is. */
function processesIn(folder: string): number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => {
      try {
        return pid > 0 && readlinkSync(`/proc/${pid}/cwd`) === folder;
      } catch {
        return false;
      }
    });
}
