// Sends messages to all WebSockets as fast as they take them, while it serves; for the benchmark of broadcasts.
import { createServer } from 'node:http';
import { openService } from 'moult';
import { broadcastTo, moveWebSockets } from 'moult/ws';
import { WebSocketServer } from 'ws';

/** So many bytes may wait for a client, and so many messages go out in one turn. */
const WAITING_BYTES = 64 * 1024;
const AT_ONCE = 4;

const service = openService();
const server = createServer((_request, response) => response.end());
const wss = new WebSocketServer({ server });
moveWebSockets(wss);
const all = process.env.HOW === 'broadcast' ? broadcastTo(wss, 'all') : undefined;
const text = 'x'.repeat(100);

function send() {
  if (all !== undefined) all.send(text);
  else for (const ws of wss.clients) ws.send(text);
}

async function turn() {
  if (!service.isServing) return;
  // Its own clients are not all: others lie in another generation.
  await all?.drained();
  let waiting = 0;
  for (const ws of wss.clients) waiting = Math.max(waiting, ws.bufferedAmount);
  if (waiting < WAITING_BYTES) for (let i = 0; i < AT_ONCE; i += 1) send();
  setImmediate(turn);
}

service.on('serve', turn);
await service.listen(server, 0, '127.0.0.1');
await service.ready();
process.stdout.write(`listening ${server.address().port} ${process.pid}\n`);
