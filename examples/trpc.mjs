// tRPC, with work that a restart must not cut in two (an order that is booked in two steps) and work that one process
// alone may do (a report each second): the first is a critical section, the second runs from `serve` to `yield`.
//
//   run      node examples/trpc.mjs                or   npx moult run examples/trpc.mjs
//   restart  kill -HUP <the process that serves>        npx moult restart
import { setTimeout as pause } from 'node:timers/promises';
import { initTRPC } from '@trpc/server';
import { createHTTPServer } from '@trpc/server/adapters/standalone';
import { openService } from 'moult';

const service = openService();
let booked = 0;

const t = initTRPC.create();
const router = t.router({
  hello: t.procedure.query(() => `hello from generation ${service.generation}`),
  order: t.procedure.mutation(() =>
    // No successor takes over between the two steps.
    service.critical(async () => {
      const reservedBy = service.isServing ? service.generation : null;
      await pause(20);
      booked += 1;
      return { reservedBy, bookedBy: service.isServing ? service.generation : null };
    }),
  ),
});

let reporting;
const report = () => console.log(`generation ${service.generation} has booked ${booked} orders`);
const stopReporting = () => clearInterval(reporting);
service.on('serve', () => {
  reporting = setInterval(report, 1000);
});
service.on('yield', stopReporting);
// A stop yields to nobody.
service.on('drain', stopReporting);

const server = createHTTPServer({ router });
await service.listen(server, Number(process.env.PORT ?? 3000));
await service.ready();
console.log(`generation ${service.generation} serves, process ${process.pid}`);
