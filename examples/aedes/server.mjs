// An MQTT broker, aedes, whose clients stay connected over a restart: see moult-plugin beside this file.
//
//   run      node examples/aedes/server.mjs        or   npx moult run examples/aedes/server.mjs
//   restart  kill -HUP <the process that serves>        npx moult restart
import { createServer } from 'node:net';
import { openService } from 'moult';
import { serveMqtt } from './moult-plugin/index.mjs';

const service = openService();
const server = createServer();
serveMqtt(service, server, {
  // What aedes offers works as ever. This says who has passed a message on.
  authorizePublish(_client, packet, done) {
    packet.payload = Buffer.from(`${packet.payload} by generation ${service.generation}`);
    done(null);
  },
});
await service.listen(server, Number(process.env.PORT ?? 1883));
await service.ready();
console.log(`generation ${service.generation} serves, process ${process.pid}`);
