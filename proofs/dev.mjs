// `node proofs/dev.mjs [saves]`: `moult dev` with a WebSocket and a stream of events open over 30 saves of a file, ten of them
// broken: neither may close, and each good save must answer. Beside it, the same good saves under `nodemon` and `node --watch`,
// by turns: the time from a save to the first answer of the new code. Exit status 1 if a client of moult dev was cut.
import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { get } from 'node:http';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { setTimeout as pause } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { freePorts } from '../scripts/free-ports.mjs';
import { root, verdict } from './harness.mjs';

const LONGEST_MS = 30_000;
const wanted = Number(process.argv[2] ?? 30);
const NODEMON = createRequire(import.meta.url).resolve('nodemon/bin/nodemon.js');
const TOOLS = {
  'moult dev': [path.join(root, 'dist/cli/main.js'), 'dev', 'server.mjs'],
  nodemon: [NODEMON, '--quiet', 'server.mjs'],
  'node --watch': ['--watch', 'server.mjs'],
};
// All of them watch a module that the script imports.
const SERVER = `import { createServer } from 'node:http';
import { WebSocketServer } from 'ws';
import { movableResponses } from ${JSON.stringify(path.join(root, 'dist/index.js'))};
import { moveWebSockets } from ${JSON.stringify(path.join(root, 'dist/library/ws.js'))};
import { version } from ${JSON.stringify('./version.mjs')};
const streams = new Map();
const follow = (response, next) => {
  streams.set(response, next);
  response.on('close', () => streams.delete(response));
};
const server = createServer((request, response) => {
  if (request.url !== '/events') return response.end(String(version));
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  movable.add(response);
  follow(response, 0);
});
const movable = movableResponses(server, {
  save: (response) => streams.get(response),
  restore: follow,
  moved: (response) => streams.delete(response),
});
setInterval(() => {
  for (const [response, next] of streams) {
    if (response.writableLength > 0) continue;
    response.write('data: ' + next + '\\n\\n');
    streams.set(response, next + 1);
  }
}, 50).unref();
const wss = new WebSocketServer({ server });
const setUp = (ws) => ws.on('message', (text) => ws.send(String(text)));
moveWebSockets(wss, { save: () => null, restore: setUp });
wss.on('connection', setUp);
server.listen(Number(process.env.PORT), '127.0.0.1');
`;

const problems = [];
const folder = await mkdtemp(path.join(tmpdir(), 'moult-dev-'));
const names = Object.keys(TOOLS);
const ports = await freePorts(names.length);
const running = [];
const times = Object.fromEntries(names.map((name) => [name, []]));
try {
  await prove();
} catch (error) {
  problems.push(error.stack);
} finally {
  for (const { child } of running) child.kill('SIGINT');
  await Promise.race([Promise.all(running.map(({ ended }) => ended)), pause(5000)]);
  for (const { child } of running) child.kill('SIGKILL');
  await rm(folder, { recursive: true, force: true });
}
verdict(problems);

async function prove() {
  for (const [at, name] of names.entries()) await start(name, ports[at]);
  const [watched] = running;
  const clients = await openClients(watched.port);
  let good = 0;
  let broken = 0;
  for (let save = 1; save <= wanted; save += 1) {
    if (save % 3 === 0) {
      broken += 1;
      const before = (watched.text.match(/serving now: +the predecessor/g) ?? []).length;
      await watched.write('this is no program');
      await until(
        'the error is on the screen',
        () => (watched.text.match(/serving now: +the predecessor/g) ?? []).length > before,
        watched,
      );
      await expectVersion(watched, good);
    } else {
      good += 1;
      for (const one of running) times[one.name].push(await saved(one, good));
    }
    await clients.hear(`after save ${save}`);
  }
  if (clients.closed.length > 0) problems.push(...clients.closed);
  console.log(
    `${wanted} saves, ${broken} of them broken: one WebSocket answered ${clients.answers} times, one stream brought ${clients.events} events, ` +
      `${clients.closed.length} closed`,
  );
  for (const [name, all] of Object.entries(times)) {
    const sorted = all.toSorted((a, b) => a - b);
    const of = (part) => Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))]);
    console.log(
      `    ${name.padEnd(13)} from save to new code: median ${of(0.5)} ms, quartiles ${of(0.25)} and ${of(0.75)} ms, at most ${of(1)} ms (${all.length} saves)`,
    );
  }
  clients.close();
}

async function start(name, port) {
  const own = path.join(folder, name.replaceAll(/\W+/g, '-'));
  await mkdir(path.join(own, 'run'), { recursive: true, mode: 0o700 });
  await symlink(path.join(root, 'node_modules'), path.join(own, 'node_modules'));
  const write = (text) => writeFile(path.join(own, 'version.mjs'), text);
  await write('export const version = 0;');
  await writeFile(
    path.join(own, 'package.json'),
    JSON.stringify({ name: path.basename(own), type: 'module' }),
  );
  await writeFile(path.join(own, 'server.mjs'), SERVER);
  const { NODE_OPTIONS: _, ...env } = process.env;
  const child = spawn(process.execPath, TOOLS[name], {
    cwd: own,
    env: { ...env, XDG_RUNTIME_DIR: path.join(own, 'run'), PWD: own, PORT: String(port), NO_COLOR: '1' },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const one = {
    name,
    port,
    write,
    child,
    text: '',
    ended: new Promise((resolve) => child.once('exit', resolve)),
  };
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (chunk) => {
      one.text += chunk;
    });
  running.push(one);
  await until(
    `${name} serves`,
    () =>
      versionOf(port).then(
        (version) => version === 0,
        () => false,
      ),
    one,
  );
}

/** A WebSocket that asks and is answered by number, and a stream of numbered events, which both stay open. */
async function openClients(port) {
  const clients = { answers: 0, events: 0, closed: [] };
  const closed = (what) => () => clients.isOver || clients.closed.push(`the ${what} was closed`);
  const ws = new WebSocket(`ws://127.0.0.1:${port}/`);
  await new Promise((resolve, reject) => ws.once('open', resolve).once('error', reject));
  let sent = 0;
  const ask = () => ws.send(String(sent++));
  ws.on('message', (text) => {
    if (Number(String(text)) !== clients.answers) problems.push(`answer ${clients.answers} is ${text}`);
    clients.answers += 1;
    setTimeout(() => clients.isOver || ask(), 20);
  });
  ws.on('close', closed('WebSocket')).on('error', () => {});
  ask();
  let rest = '';
  const stream = get({ host: '127.0.0.1', port, path: '/events', agent: false }, (response) => {
    response.setEncoding('utf8').on('data', (chunk) => {
      const lines = (rest + chunk).split('\n\n');
      rest = lines.pop();
      for (const line of lines) {
        if (line !== `data: ${clients.events}`) problems.push(`event ${clients.events} is ${line}`);
        clients.events += 1;
      }
    });
    response.on('close', closed('stream'));
  }).on('error', closed('stream'));
  clients.hear = async (when) => {
    const { answers, events } = clients;
    const isHeard = () => clients.closed.length > 0 || (clients.answers > answers && clients.events > events);
    await until(`both clients hear of it ${when}`, isHeard);
  };
  clients.close = () => {
    clients.isOver = true;
    ws.terminate();
    stream.destroy();
  };
  return clients;
}

async function saved(one, version) {
  const began = performance.now();
  await one.write(`export const version = ${version};`);
  await until(
    `${one.name} serves version ${version}`,
    () =>
      versionOf(one.port).then(
        (found) => found === version,
        () => false,
      ),
    one,
    2,
  );
  return performance.now() - began;
}

async function expectVersion({ port, name }, version) {
  const found = await versionOf(port);
  if (found !== version)
    problems.push(`${name} serves version ${found} after a broken save, expected ${version}`);
}

function versionOf(port) {
  return new Promise((resolve, reject) => {
    get({ host: '127.0.0.1', port, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk) => {
        text += chunk;
      });
      response.once('end', () => resolve(Number(text)));
    }).once('error', reject);
  });
}

async function until(what, condition, said, everyMs = 20) {
  const limit = performance.now() + LONGEST_MS;
  while (!(await condition())) {
    if (performance.now() > limit)
      throw new Error(`waited ${LONGEST_MS} ms until ${what}: ${said?.text.slice(-2000) ?? ''}`);
    await pause(everyMs);
  }
}
