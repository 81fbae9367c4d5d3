// Ports for programs that are started in a moment. The kernel gives none of these to clients, and no two processes take
// theirs from the same place: what is free when it is picked is free when it is bound.
import { createServer } from 'node:net';
import process from 'node:process';

/** Below those that the kernel gives away. Source: ip(7), ip_local_port_range, 32768 to 60999 by default. */
const FIRST = 15_000;
/** Each process has a block of these to itself; more than any of them needs at once. */
const BLOCK = 250;
const BLOCKS = 60;

// At once, so that no test finds it open that has not been; but for a service under moult, whose listener it would be.
let first = process.env.MOULT_SUPERVISOR === undefined ? await ownFirst() : undefined;
let next = 0;

/** A port at which nobody listens, of all addresses; of this process each once, as long as it has others. */
export async function freePort() {
  first ??= await ownFirst();
  for (;;) {
    const port = first + next;
    next = (next + 1) % BLOCK;
    if (await isBound(createServer(), { port })) return port;
  }
}

/** So many of them. */
export async function freePorts(count) {
  const ports = [];
  while (ports.length < count) ports.push(await freePort());
  return ports;
}

/*
 * An abstract name belongs to the process that listens at it, until that ends. Source: unix(7). Where all are taken, another
 * process has the same block.
 */
async function ownBlock() {
  const wanted = process.pid % BLOCKS;
  for (let n = 0; n < BLOCKS; n += 1) {
    const block = (wanted + n) % BLOCKS;
    if (await isBound(createServer().unref(), { path: `\0moult-free-ports-${block}` }, true)) return block;
  }
  return wanted;
}

async function ownFirst() {
  return FIRST + (await ownBlock()) * BLOCK;
}

async function isBound(server, where, stays = false) {
  const bound = await new Promise((resolve) => {
    server.once('error', () => resolve(false)).listen(where, () => resolve(true));
  });
  if (bound && !stays) await new Promise((resolve) => server.close(resolve));
  return bound;
}
