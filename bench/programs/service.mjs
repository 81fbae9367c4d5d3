// The service that is measured: plain node:http, nothing of moult in it. With BENCH_CONTROL it also tells of its
// event loop, at a Unix socket whose name holds its process number: moult takes such a one for the process's own affair.
import { createServer } from 'node:http';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';

const { PORT = '0', KEEP_ALIVE_MS, BENCH_CONTROL } = process.env;
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

const control = createServer((request, response) => {
  const longestMs = Math.max(0, delay.max / 1e6 - RESOLUTION_MS);
  if (request.url === '/reset') delay.reset();
  response.end(JSON.stringify({ longestMs, lastOpenedAt }));
});
if (BENCH_CONTROL !== undefined) control.listen(join(BENCH_CONTROL, `${process.pid}.sock`)).unref();

process.once('SIGTERM', () => process.exit(0));
