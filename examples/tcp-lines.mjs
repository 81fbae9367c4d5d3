// A server of a protocol of its own over TCP: a line in, a line out. moult cannot know where such a protocol may
// change hands, so the protocol says it: after "bye" a client sends no more and connects anew. What it sent before
// is still answered, so no line is lost.
//
//   run      node examples/tcp-lines.mjs           or   npx moult run examples/tcp-lines.mjs
//   restart  kill -HUP <the process that serves>        npx moult restart
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { openService } from 'moult';

const service = openService();
const server = createServer({ allowHalfOpen: true }, (socket) => {
  const sayBye = () => socket.writable && socket.write('bye\n');
  if (service.signal.aborted) sayBye();
  service.signal.addEventListener('abort', sayBye);
  createInterface({ input: socket })
    .on('line', (line) => socket.write(`${line} answered by generation ${service.generation}\n`))
    .on('close', () => socket.end());
  socket.on('close', () => service.signal.removeEventListener('abort', sayBye));
  socket.on('error', () => socket.destroy());
});
await service.listen(server, Number(process.env.PORT ?? 3000));
await service.ready();
console.log(`generation ${service.generation} serves, process ${process.pid}`);
