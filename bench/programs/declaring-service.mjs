// A service that declares nothing, or jobs, timers, a task, a value and a map, with so many timers; for the benchmark of tasks.
import { once } from 'node:events';
import { createServer } from 'node:http';
import { openService } from 'moult';

const { DECLARES, TIMERS = '0' } = process.env;
const service = openService();
const { generation } = service;

function declare() {
  let count = 0;
  service.jobs('jobs', () => {}, { changeover: 'move' });
  const timers = service.timers('timers', () => {});
  service.task('task', ({ signal }) => once(signal, 'abort').then(() => 'saved'));
  const restore = (/** @type {number} */ value) => {
    count = value;
  };
  service.state('value', { save: () => count, restore, late: () => {} });
  service.map('map').set('generation', generation);
  if (generation > 1) return timers;
  for (let i = 0; i < Number(TIMERS); i += 1) timers.set(`${i}`, 3_600_000, { text: 'x'.repeat(100) });
  return timers;
}

const timers = DECLARES === 'all' ? declare() : { size: 0 };
const server = createServer((_, response) => response.end(JSON.stringify({ timers: timers.size })));
await service.listen(server, 0, '127.0.0.1');
await service.ready();
process.stdout.write(`listening ${server.address().port} ${process.pid}\n`);
