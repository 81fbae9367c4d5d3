// `node proofs/recycling.mjs [recyclings]`: a service that leaks 20 MB a second under --max-memory, recycled 50 times under strict
// clients over HTTP and numbered messages over WebSockets. Nothing may fail or be lost, no WebSocket may close, and no
// generation may have more than the limit and what it leaks in the time of a recycling. Exit status 1 otherwise.
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { root, verdict } from './harness.mjs';
import { Talker } from './long-lived/talker.mjs';
import { transports } from './long-lived/transports.mjs';

const wanted = Number(process.argv[2] ?? 50);
const LIMIT_MB = 250;
/** Above the limit: what is leaked until it is seen, and through start and commit of the successor on a busy machine. */
const ROOM_MB = 250;
const { startUnderMoult } = await import('../dist/verify/moult/under-moult.js');
const { startLoad } = await import('../dist/verify/load.js');

let output = '';
const service = await startUnderMoult({
  command: [path.join(root, 'test/fixtures/services/leaks.mjs')],
  runOptions: ['--max-memory', `${LIMIT_MB}M`, '--probation', '500ms'],
  env: { PORT: '0', LEAK_MB_PER_SECOND: '20' },
  onOutput: (text) => {
    output += text;
  },
});
const kept = { 'kept-alive': 24, pipelined: 4, 'slow-body': 4, 'new-connection': 4 };
const load = startLoad({ target: service.target, check: 'echo', clients: kept });
const ways = Object.entries(transports.websockets).filter(([name]) => !/deflate|compress/.test(name));
const clients = Array.from({ length: 30 }, (_, id) => {
  const [kind, make] = ways[id % ways.length];
  return new Talker(id, kind, make, { port: service.target.port }, 40);
});
const running = clients.map((client) => client.run());
const problems = [];
let mostMb = 0;
let most = 0;
const began = performance.now();
try {
  while (most < wanted && performance.now() - began < wanted * 30_000) {
    await pause(1000);
    most = (output.match(/is recycled: it has/g) ?? []).length;
    for (const [, mb] of output.matchAll(/is recycled: it has (\d+) MB/g))
      mostMb = Math.max(mostMb, Number(mb));
  }
  await Promise.all(clients.map((client, i) => client.finish(running[i])));
} finally {
  const { total, failures } = await load.stop();
  await service.stop();
  const { answered, failed, lost, duplicated } = total;
  problems.push(...clients.flatMap((client) => client.problems).slice(0, 10));
  if (failed + lost + duplicated > 0) problems.push(JSON.stringify(failures).slice(0, 2000));
  if (most < wanted) problems.push(`only ${most} recyclings; the last output: ${output.slice(-2000)}`);
  if (mostMb > LIMIT_MB + ROOM_MB) problems.push(`one had ${mostMb} MB`);
  const talked = clients.reduce((sum, client) => sum + client.answered, 0);
  console.log(
    `${most} recyclings in ${Math.round((performance.now() - began) / 1000)} s: ${answered} requests answered, ${failed} failed, ${lost} lost, ` +
      `${duplicated} twice; ${clients.length} WebSockets, ${talked} messages; at most ${mostMb} MB when recycled (limit ${LIMIT_MB} MB)`,
  );
}
verdict(problems);
