// A chat for browsers: restart it while you type. The WebSocket of each window and its stream of events move to the
// next generation, so nobody is thrown out, and no line is lost or shown twice.
//
//   run      node examples/chat/server.mjs         or   npx moult run examples/chat/server.mjs
//   open     http://localhost:3000, in two windows
//   restart  kill -HUP <the process that serves>        npx moult restart
import { appendFileSync, fstatSync, openSync, readFileSync, readSync, watch } from 'node:fs';
import { createServer } from 'node:http';
import { movableResponses, openService } from 'moult';
import { moveWebSockets } from 'moult/ws';
import { WebSocketServer } from 'ws';

const service = openService();
const page = readFileSync(new URL('page.html', import.meta.url));
const server = createServer((request, response) => {
  const [path] = request.url.split('?');
  if (path === '/') response.setHeader('content-type', 'text/html; charset=utf-8').end(page);
  else if (path === '/events') openStream(response);
  else response.writeHead(404).end();
});

// The lines. While windows move, each generation has some of them: both read what was said from one file, and each
// window takes along how far it has read.
const logPath = process.env.CHAT_LOG ?? 'chat.log';
const log = openSync(logPath, 'a+');
const MOST_SHOWN_BYTES = 20_000;

function saidSince(from) {
  const bytes = Buffer.alloc(Math.max(0, fstatSync(log).size - from));
  readSync(log, bytes, 0, bytes.length, from);
  return bytes.subarray(0, bytes.lastIndexOf('\n') + 1);
}

const wss = new WebSocketServer({ server, maxPayload: 2000 });
const windows = new Map();

function setUp(ws, { name, read }) {
  const own = { name, read };
  windows.set(ws, own);
  ws.on('message', (text) => {
    const line = { name, text: String(text), generation: service.generation };
    appendFileSync(log, `${JSON.stringify(line)}\n`);
    tellAll();
  });
  ws.on('close', () => windows.delete(ws));
  ws.on('error', () => {});
  tellAll();
}

function tellAll() {
  const news = new Map();
  for (const [ws, own] of windows) {
    if (!news.has(own.read)) news.set(own.read, saidSince(own.read));
    const said = news.get(own.read);
    if (said.length > 0) ws.send(said.toString());
    own.read += said.length;
  }
}

wss.on('connection', (ws, request) => {
  const name = new URLSearchParams(request.url.split('?')[1]).get('name') ?? 'nobody';
  const read = Math.max(0, fstatSync(log).size - MOST_SHOWN_BYTES);
  // The first line may be cut.
  setUp(ws, { name: name.slice(0, 30), read: read === 0 ? 0 : read + saidSince(read).indexOf('\n') + 1 });
});
moveWebSockets(wss, {
  save: (ws) => windows.get(ws),
  restore: setUp,
  moved: (ws) => windows.delete(ws),
});
watch(logPath, { persistent: false }, tellAll);

// Who serves: an event each second, and one at once from a new generation.
const streams = new Map();
const movableStreams = movableResponses(server, {
  save: (response) => streams.get(response),
  restore: follow,
  moved: (response) => streams.delete(response),
});

function openStream(response) {
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
  movableStreams.add(response);
  response.on('error', () => {});
  follow(response, { events: 0 });
}

function follow(response, own) {
  streams.set(response, own);
  response.on('close', () => streams.delete(response));
  tick(response, own);
}

function tick(response, own) {
  own.events += 1;
  const data = { generation: service.generation, process: process.pid };
  response.write(`id: ${own.events}\ndata: ${JSON.stringify(data)}\n\n`);
}
setInterval(() => {
  for (const [response, own] of streams) tick(response, own);
}, 1000).unref();

await service.listen(server, Number(process.env.PORT ?? 3000));
await service.ready();
console.log(`generation ${service.generation} serves, process ${process.pid}`);
