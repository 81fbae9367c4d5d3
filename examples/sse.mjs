// Server-sent events. A stream is a response without an end. Unless the service says how it goes on elsewhere
// (docs/guide/long-lived-connections.md) it does not move; the service's signal ends it, the
// browser connects anew by itself and says which event it saw last, and the next generation goes on from there.
//
//   run      node examples/sse.mjs                 or   npx moult run examples/sse.mjs
//   restart  kill -HUP <the process that serves>        npx moult restart
import { createServer } from 'node:http';
import { openService } from 'moult';

const EVERY_MS = 20;
// What both generations know alike: here the clock, elsewhere a log or a database.
const latest = () => Math.floor(Date.now() / EVERY_MS);

const service = openService();
const server = createServer((request, response) => {
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
  response.write('retry: 50\n\n');
  let sent = Number(request.headers['last-event-id'] ?? latest());
  const catchUp = () => {
    while (sent < latest()) {
      sent += 1;
      response.write(`id: ${sent}\ndata: from generation ${service.generation}\n\n`);
    }
  };
  const ticking = setInterval(catchUp, EVERY_MS);
  const end = () => response.end();
  service.signal.addEventListener('abort', end);
  response.on('close', () => {
    clearInterval(ticking);
    service.signal.removeEventListener('abort', end);
  });
  if (service.signal.aborted) end();
});
await service.listen(server, Number(process.env.PORT ?? 3000));
await service.ready();
console.log(`generation ${service.generation} serves, process ${process.pid}`);
