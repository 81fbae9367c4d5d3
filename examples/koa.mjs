// Koa, in a program that knows nothing of moult, but starts slowly: it says `process.send('ready')`, as under PM2,
// and with --wait-ready its successors take over no sooner.
//
//   run      npx moult run --wait-ready examples/koa.mjs
//   restart  npx moult restart
import { setTimeout as pause } from 'node:timers/promises';
import Koa from 'koa';

const cache = new Map();
const app = new Koa();
app.use((context) => {
  context.body = `${cache.get('greeting')} from process ${process.pid}\n`;
});
app.listen(Number(process.env.PORT ?? 3000));

await pause(100);
cache.set('greeting', 'hello');
process.send?.('ready');
