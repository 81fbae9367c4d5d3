// An https service of which some connections go on by moult's record layer, in the same process. A connection says by its
// first request, /as/<way>, how it is to be served.
import { once } from 'node:events';
import { createServer } from 'node:https';
import { handleOf } from '../../dist/node/handle.js';
import { socketBelow } from '../../dist/node/tls-sockets.js';
import { duplicate } from '../../dist/os/descriptors/descriptor.js';
import { libcrypto } from '../../dist/os/libcrypto.js';
import { EvpProtection } from '../../dist/tls/records/evp-protection.js';
import { NodeProtection } from '../../dist/tls/records/node-protection.js';
import { adoptTls } from '../../dist/tls/socket/moved-socket.js';
import { factsOf } from '../../dist/tls/state/facts.js';
import { selfSigned } from './self-signed.mjs';

const LARGE = Buffer.alloc(1024 * 1024, 'moult');
const WAYS = { libcrypto: new EvpProtection(libcrypto()), 'node:crypto': new NodeProtection() };
const secrets = new WeakMap();
let server;
let pending = 0;
let before;

process.on('message', async (question) => {
  try {
    process.send(await answer(question));
  } catch (error) {
    process.send({ error: error.stack });
  }
});

async function answer({ do: what, cipher }) {
  if (what === 'listen') return { port: await listen(cipher) };
  if (what === 'settle') {
    while (pending > 0) await new Promise((resolve) => setTimeout(resolve, 5));
    return {};
  }
  if (what === 'begin') {
    before = process.cpuUsage();
    return {};
  }
  const { user, system } = process.cpuUsage(before);
  return { cpuUs: user + system };
}

async function listen(ciphers) {
  server = createServer({ ...selfSigned(), ciphers, minVersion: 'TLSv1.3' }, (request, response) => {
    const way = /^\/as\/(.*)$/.exec(request.url)?.[1];
    if (way !== undefined && way !== 'native') {
      pending += 1;
      response.on('finish', () => setImmediate(move, request.socket, WAYS[way]));
    }
    if (request.method === 'POST') request.on('data', () => {}).on('end', () => response.end('taken'));
    else response.end(request.url === '/large' ? LARGE : 'ok');
  });
  server.on('keylog', (line, socket) => {
    const [label, , secret] = line.toString('latin1').trim().split(' ');
    const known = secrets.get(socket) ?? {};
    secrets.set(socket, { ...known, [label]: Buffer.from(secret, 'hex') });
  });
  // Connections wait while others have their turn.
  server.keepAliveTimeout = 0;
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server.address().port;
}

// One request was read as one record; written were two tickets and one response.
function move(socket, protection) {
  const known = secrets.get(socket);
  const state = {
    cipher: socket.getCipher().standardName,
    clientSecret: known.CLIENT_TRAFFIC_SECRET_0,
    serverSecret: known.SERVER_TRAFFIC_SECRET_0,
    exporterSecret: known.EXPORTER_SECRET,
    readSequence: 1n,
    writeSequence: 3n,
    left: Buffer.alloc(0),
    maxSend: 16384,
    facts: factsOf(socket),
  };
  handleOf(socket).readStop();
  const fd = duplicate(handleOf(socketBelow(socket)).fd);
  for (const name of ['writeBuffer', 'writev', 'writeUtf8String', 'writeLatin1String', 'shutdown'])
    Object.defineProperty(handleOf(socket), name, { value: () => -1 });
  socket.destroy();
  const moved = adoptTls(fd, state, { server, allowHalfOpen: true, protection });
  moved.server = server;
  server.emit('secureConnection', moved);
  moved.begin();
  pending -= 1;
}
