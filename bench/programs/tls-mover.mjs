// Connections of an https server move within one process: from Node's TLS to moult's record layer, and on. Tells what
// reading the state of each costs, and going on with it.
import { once } from 'node:events';
import { createServer } from 'node:tls';
import { descriptorOf } from '../../dist/node/handle.js';
import { freeze } from '../../dist/node/http/http1.js';
import { duplicate } from '../../dist/os/descriptors/descriptor.js';
import { capture } from '../../dist/tls/capture/capture.js';
import { blockWrites } from '../../dist/tls/capture/write-block.js';
import { foundPlaces, tlsMoves } from '../../dist/tls/self-test.js';
import { adoptTls } from '../../dist/tls/socket/moved-socket.js';
import { decodeTlsState, encodeTlsState } from '../../dist/tls/state/state-codec.js';
import { selfSigned } from './self-signed.mjs';

let server;
const sockets = new Set();

process.on('message', async (question) => {
  try {
    process.send(await answer(question));
  } catch (error) {
    process.send({ error: error.stack });
  }
});

async function answer({ do: what }) {
  if (what === 'listen') return listen();
  const native = moveAll((socket) => {
    freeze(socket);
    blockWrites(socket);
    return capture(socket, foundPlaces()).state;
  });
  const again = moveAll((socket) => socket.capture());
  return { native, again };
}

async function listen() {
  const why = await tlsMoves();
  if (why !== 'yes') throw new Error(why);
  server = createServer({ ...selfSigned(), minVersion: 'TLSv1.3' }, serve);
  server.listen(0, '127.0.0.1', 2048);
  await once(server, 'listening');
  return { port: server.address().port };
}

function serve(socket) {
  sockets.add(socket);
  socket.on('close', () => sockets.delete(socket));
  socket.on('data', () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'));
}

/** @returns CPU µs a connection. */
function moveAll(stateOf) {
  const all = [...sockets];
  const states = [];
  const captureUs = cpuUs(() => {
    for (const socket of all) states.push(encodeTlsState(stateOf(socket)));
  });
  const fds = all.map((socket) => duplicate(descriptorOf(socket)));
  for (const socket of all) socket.destroy();
  const moved = [];
  const adoptUs = cpuUs(() => {
    for (const [i, fd] of fds.entries()) moved.push(adoptTls(fd, decodeTlsState(states[i]), { server }));
    for (const socket of moved) socket.begin();
  });
  sockets.clear();
  for (const socket of moved) serve(socket);
  const stateBytes = states.reduce((sum, { length }) => sum + length, 0) / all.length;
  return { captureUs: captureUs / all.length, adoptUs: adoptUs / all.length, stateBytes };
}

function cpuUs(work) {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return user + system;
}
