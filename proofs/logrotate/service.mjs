// Writes numbered lines as fast as it is told to (argv[2] a second), in several ways, from its first moment on; each has
// its length, so that a cut is seen. Answers /count with how many it has written, which it also says at its end.
import { writeSync } from 'node:fs';
import http from 'node:http';
import process from 'node:process';

const EVERY_MS = 5;
const perTick = Math.max(1, Math.round((Number(process.argv[2] ?? 1000) * EVERY_MS) / 1000));
const { pid } = process;
const counts = { out: 0, err: 0 };
const stdout = (text) => process.stdout.write(text);
const ways = [
  ['out', stdout],
  ['err', (text) => process.stderr.write(text)],
  ['out', (text) => console.log(text.slice(0, -1))],
  // As pino does.
  ['out', (text) => process.stdout.writableLength === 0 && writeSync(1, text)],
];
let n = 0;
const write = () => {
  const [stream, how] = ways[n % ways.length];
  const filler = 'x'.repeat(n % 97 === 0 ? 100_000 : 20 + (n % 200));
  n += 1;
  const text = `N ${pid} ${stream} ${counts[stream]} ${filler.length} ${filler}\n`;
  if (how(text) !== false || how === stdout) counts[stream] += 1;
};
for (let i = 0; i < 50; i += 1) write();
const timer = setInterval(() => {
  for (let i = 0; i < perTick; i += 1) write();
}, EVERY_MS);
const server = http.createServer((_, response) => response.end(JSON.stringify({ pid, ...counts })));
server.listen(Number(process.env.PORT), '127.0.0.1');
process.on('SIGTERM', () => {
  clearInterval(timer);
  server.close();
});
process.on('exit', () => writeSync(1, `E ${pid} ${counts.out} ${counts.err}\n`));
