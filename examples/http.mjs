// The library in ten lines: warm up, listen, say ready. A restart starts this program anew beside the one that
// runs; the new one takes over the port, and the idle connections, at the moment when it says that it is ready.
//
//   run      node examples/http.mjs              or   npx moult run examples/http.mjs
//   restart  kill -HUP $(cat /tmp/hello.pid)          npx moult restart
//   stop     kill $(cat /tmp/hello.pid)               npx moult stop
import { createServer } from 'node:http';
import { openService } from 'moult';

const service = openService({ pidFile: process.env.PID_FILE ?? '/tmp/hello.pid' });
const greeting = await warmUp();
const server = createServer((_request, response) => {
  response.end(`${greeting} from generation ${service.generation}\n`);
});
await service.listen(server, Number(process.env.PORT ?? 3000));
await service.ready();
console.log(`generation ${service.generation} serves, process ${process.pid}`);

// Takes its time, as a cache that fills or a database that is connected does. The predecessor answers meanwhile.
async function warmUp() {
  await new Promise((resolve) => setTimeout(resolve, 100));
  return 'hello';
}
