// Ports for programs that are started in a moment. The kernel gives none of these to clients, and no two processes take
// theirs from the same place: what is free when it is picked is free when it is bound.
import { createServer } from 'node:net';

/** Below those that the kernel gives away. Source: ip(7), ip_local_port_range, 32768 to 60999 by default. */
const FIRST = 15_000;
const COUNT = 15_000;
/** How far apart processes with numbers in a row begin: more than any of them asks for. */
const APART = 101;

let next = (process.pid * APART) % COUNT;

/** A port at which nobody listens, of all addresses; of this process each once. */
export async function freePort() {
  for (;;) {
    const port = FIRST + next;
    next = (next + 1) % COUNT;
    if (await isFree(port)) return port;
  }
}

/** So many of them. */
export async function freePorts(count) {
  const ports = [];
  while (ports.length < count) ports.push(await freePort());
  return ports;
}

async function isFree(port) {
  const server = createServer();
  const isBound = await new Promise((resolve) => {
    server.once('error', () => resolve(false)).listen(port, () => resolve(true));
  });
  if (isBound) await new Promise((resolve) => server.close(resolve));
  return isBound;
}
