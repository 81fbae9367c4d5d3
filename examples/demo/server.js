// A plain node:http service that knows nothing of moult. Its version is the one in its package.json, so a
// deploy is: put another folder behind the same link. It answers with what it read, for `moult verify --echo`.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import http from 'node:http';

const { version } = JSON.parse(readFileSync(new URL('./package.json', import.meta.url), 'utf8'));
const generation = `v${version.split('.')[0]}`;
let n = 0;

const server = http.createServer((request, response) => {
  const hash = createHash('sha1');
  let bytes = 0;
  request.on('data', (chunk) => {
    bytes += chunk.length;
    hash.update(chunk);
  });
  request.on('end', () => {
    n += 1;
    const id = request.headers['x-moult-id'] ?? null;
    response.setHeader('content-type', 'application/json');
    response.end(`${JSON.stringify({ id, generation, n, bytes, sha1: hash.digest('hex') })}\n`);
  });
});

server.listen(Number(process.env.PORT ?? 3000), '127.0.0.1', () => {
  console.log(`${generation} listens on ${server.address().port}`);
});
