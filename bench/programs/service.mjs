// The service that is measured: plain node:http, nothing of moult in it; with BENCH_WEBSOCKETS it echoes the messages of
// WebSockets, and says that they can be moved. With BENCH_CONTROL it also tells of its
// event loop, at a Unix socket whose name holds its process number: moult takes such a one for the process's own affair.
import { createServer } from 'node:http';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

const { PORT = '0', KEEP_ALIVE_MS, BENCH_CONTROL, BENCH_WEBSOCKETS } = process.env;
const BODY = JSON.stringify({ greeting: 'hello', padding: 'x'.repeat(100) });
/** The timer of the histogram: what it measures beyond this is what the loop was late. */
const RESOLUTION_MS = 1;
const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });

const server = createServer((request, response) => {
  const answer = () => {
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': BODY.length });
    response.end(BODY);
  };
  if (request.method === 'GET') answer();
  else request.on('end', answer).resume();
});
if (BENCH_WEBSOCKETS !== undefined) {
  const { WebSocketServer } = await import('ws');
  const { moveWebSockets } = await import('moult/ws');
  const wss = new WebSocketServer({ server });
  moveWebSockets(wss);
  wss.on('connection', (ws) => ws.on('message', (data) => ws.send(data)));
}
if (KEEP_ALIVE_MS !== undefined) server.keepAliveTimeout = Number(KEEP_ALIVE_MS);
server.listen(Number(PORT), '127.0.0.1', 1024, () => {
  // Under moult a successor listens before it serves: from here on it does what it can be blamed for.
  if (BENCH_CONTROL !== undefined) delay.enable();
  process.stdout.write(`listening ${server.address().port} ${process.pid}\n`);
});

// Under moult the service does not see connections that came from its predecessor, but its server counts them.
let lastOpenedAt = 0;
if (BENCH_CONTROL !== undefined) {
  let count = 0;
  Object.defineProperty(server, '_connections', {
    get: () => count,
    set: (value) => {
      if (value > count) lastOpenedAt = performance.timeOrigin + performance.now();
      count = value;
    },
  });
}

/** What is in use after everything that is not was collected. */
function memory() {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc');
  collect();
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return { usedBytes: heapUsed + external };
}

const control = createServer((request, response) => {
  const longestMs = Math.max(0, delay.max / 1e6 - RESOLUTION_MS);
  if (request.url === '/reset') delay.reset();
  response.end(JSON.stringify({ longestMs, lastOpenedAt, ...(request.url === '/memory' && memory()) }));
});
if (BENCH_CONTROL !== undefined) control.listen(join(BENCH_CONTROL, `${process.pid}.sock`)).unref();

process.once('SIGTERM', () => process.exit(0));
