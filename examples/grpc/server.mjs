// A gRPC server. HTTP/2 connections do not move: once the next generation has proved itself the old one says GOAWAY,
// finishes the calls that it has, and clients connect anew, each by its own logic; no call fails.
//
//   run      node examples/grpc/server.mjs         or   npx moult run examples/grpc/server.mjs
//   restart  kill -HUP <the process that serves>        npx moult restart
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { loadPackageDefinition, Server, ServerCredentials } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { openService } from 'moult';

const service = openService();
const { hello } = loadPackageDefinition(loadSync(fileURLToPath(new URL('hello.proto', import.meta.url))));

const server = new Server();
server.addService(hello.Greeter.service, {
  Hello: ({ request }, callback) => {
    callback(null, { greeting: `hello ${request.name} from generation ${service.generation}` });
  },
});
const bind = promisify(server.bindAsync.bind(server));
await bind(`127.0.0.1:${process.env.PORT ?? 50051}`, ServerCredentials.createInsecure());
await service.ready();
service.beforeEnd(promisify(server.tryShutdown.bind(server)));
console.log(`generation ${service.generation} serves, process ${process.pid}`);
