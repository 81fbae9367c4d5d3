// Hono on Node, with a restart that the program asks for itself: `POST /restart` answers once the next generation
// has taken over, or says why it has not. Keep such a route away from strangers.
//
//   run      node examples/hono.mjs                          or   npx moult run examples/hono.mjs
//   restart  curl -X POST http://127.0.0.1:3000/restart
import { serve } from '@hono/node-server';
import { Hono } from 'hono';
import { openService } from 'moult';

const service = openService();
const app = new Hono();
app.get('/', (context) => context.text(`hello from generation ${service.generation}\n`));
// A body that nobody reads within 500 ms ends its connection: so does Hono's server with any slow client.
app.post('/', async (context) => {
  const { length } = await context.req.text();
  return context.text(`${length} characters for generation ${service.generation}\n`);
});
app.post('/restart', async (context) => {
  try {
    const { generation, moved, tookMs } = await service.restart();
    return context.json({ generation, moved, tookMs });
  } catch (error) {
    const { code, message, serving } = error;
    return context.json({ code, message, serving }, 503);
  }
});

// A server that a framework makes needs no service.listen(): the service is open before it listens.
serve({ fetch: app.fetch, port: Number(process.env.PORT ?? 3000), hostname: '127.0.0.1' });
await service.ready();
console.log(`generation ${service.generation} serves, process ${process.pid}`);
