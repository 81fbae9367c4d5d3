// The service of bench/peers.mjs in Node, as the guides to graceful shutdown have it: it says `ready` to who forked it, and at
// SIGINT takes no more connections, announces with every answer that the connection ends, and finishes what it has.
import { createServer } from 'node:http';

const { PORT = '0', KEEP_ALIVE_MS } = process.env;
const BODY = JSON.stringify({ greeting: 'hello', padding: 'x'.repeat(100) });
let isEnding = false;

const server = createServer((request, response) => {
  request
    .on('end', () => {
      if (isEnding) response.setHeader('connection', 'close');
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': BODY.length });
      response.end(BODY);
    })
    .resume();
});
if (KEEP_ALIVE_MS !== undefined) server.keepAliveTimeout = Number(KEEP_ALIVE_MS);
server.listen(Number(PORT), '127.0.0.1', 1024, () => {
  process.stdout.write(`listening ${server.address().port} ${process.pid}\n`);
  process.send?.('ready');
});

process.once('SIGINT', () => {
  isEnding = true;
  server.close(() => process.exit(0));
});
process.once('SIGTERM', () => process.exit(0));
