// A service with a map of so many entries, some of which it changes all the time; for the benchmark of state.
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { openService } from 'moult';

const { CONTROL, ENTRIES, VALUE_BYTES, CHANGED_PER_SECOND } = process.env;
const entries = Number(ENTRIES);
const service = openService();
const map = service.map('sessions');
const delay = monitorEventLoopDelay({ resolution: 1 });
const entryOf = (key, version) => ({
  key,
  version,
  // Its own text each: a text that all share would be kept once.
  text: `${key}:${version}:`.padEnd(Number(VALUE_BYTES), String.fromCharCode(97 + (key % 26))),
});

const server = createServer((request, response) => {
  if (request.url === '/reset') delay.reset();
  const told = { size: map.size, rss: process.memoryUsage.rss() };
  response.end(JSON.stringify(told));
});
await service.listen(server, 0, '127.0.0.1');
await service.ready();
process.stdout.write(`listening ${server.address().port} ${process.pid}\n`);
if (service.generation === 1) for (let key = 0; key < entries; key += 1) map.set(key, entryOf(key, 0));
delay.enable();

let version = 0;
let owed = 0;
let last = performance.now();
const changes = setInterval(() => {
  const now = performance.now();
  owed += (Number(CHANGED_PER_SECOND) * (now - last)) / 1000;
  last = now;
  version += 1;
  for (; owed >= 1; owed -= 1) {
    const key = Math.floor(Math.random() * entries);
    map.set(key, entryOf(key, version));
  }
}, 10);
service.once('yield', () => {
  clearInterval(changes);
  const told = { longestMs: delay.max / 1e6, rss: process.memoryUsage.rss() };
  writeFileSync(join(CONTROL, `${service.generation}.json`), JSON.stringify(told));
});
