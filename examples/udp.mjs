// A UDP server: the socket changes hands, with every datagram that waits in it.
//
//   run      node examples/udp.mjs                 or   npx moult run examples/udp.mjs
//   restart  kill -HUP <the process that serves>        npx moult restart
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { openService } from 'moult';

const service = openService();
const socket = createSocket('udp4');
socket.on('message', (message, { port, address }) => {
  socket.send(`${message} answered by generation ${service.generation}`, port, address);
});
socket.bind(Number(process.env.PORT ?? 3000), '127.0.0.1');
await once(socket, 'listening');
await service.ready();
console.log(`generation ${service.generation} serves, process ${process.pid}`);
