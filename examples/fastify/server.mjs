// Fastify with a plugin that ties its life to moult's: see moult-plugin.mjs beside this file.
//
//   run      node examples/fastify/server.mjs      or   npx moult run examples/fastify/server.mjs
//   restart  kill -HUP <the process that serves>        npx moult restart
import Fastify from 'fastify';
import { moult } from './moult-plugin.mjs';

const app = Fastify({ logger: { level: process.env.LOG_LEVEL ?? 'warn' } });
await app.register(moult);
app.addHook('onClose', () => console.log(`generation ${app.moult.generation} has closed its pools`));
app.get('/', async () => `hello from generation ${app.moult.generation}\n`);

// Returns when this generation accepts.
await app.listen({ port: Number(process.env.PORT ?? 3000), host: '127.0.0.1' });
console.log(`generation ${app.moult.generation} serves, process ${process.pid}`);
