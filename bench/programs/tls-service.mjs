// An https service with nothing of moult in it.
import { createServer } from 'node:https';
import { selfSigned } from './self-signed.mjs';

const server = createServer({ ...selfSigned(), minVersion: 'TLSv1.3' }, (_request, response) =>
  response.end('ok'),
);
// Connections wait while others have their turn.
server.keepAliveTimeout = 0;
server.listen(0, '127.0.0.1', 2048, () => {
  process.stdout.write(`listening ${server.address().port} ${process.pid}\n`);
});
process.once('SIGTERM', () => process.exit(0));
