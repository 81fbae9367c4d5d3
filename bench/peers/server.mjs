import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { endWithUs } from '../measure/processes.mjs';

const PATIENCE_MS = 60_000;
const POLL_MS = 20;

/**
 * One of those that are compared, running.
 * @typedef {object} Peer
 * @property {number} port where clients reach it
 * @property {() => number[]} serving the processes that a restart replaces
 * @property {() => number[]} all every process that it needs, these and others
 * @property {() => Promise<unknown>} restart asks it to restart; need not wait
 * @property {() => Promise<void>} stop
 */

/**
 * One of those that are compared.
 * @typedef {object} PeerKind
 * @property {string} name with how it restarts
 * @property {() => string} prepare makes it ready to be started, and gives its version; throws when it cannot be had
 * @property {() => Promise<Peer>} start
 */

/**
 * Starts a server in the foreground and waits until it answers.
 * @param {readonly string[]} command
 * @param {number} port
 * @param {{ env?: Readonly<Record<string, string>>, cwd?: string }} [how]
 */
export async function startServer([file = '', ...args], port, { env = {}, cwd } = {}) {
  const child = spawn(file, args, {
    cwd,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  endWithUs(child);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk) => {
      output = (output + chunk).slice(-4000);
    });
  }
  await once(child, 'spawn');
  await until(`${file} answers`, async () => {
    if (child.exitCode !== null || child.signalCode !== null) throw new Error(`${file} ended:\n${output}`);
    return answers(port);
  });
  return { child, pid: child.pid ?? -1 };
}

/** @param {string} what @param {() => unknown} condition may be asynchronous */
export async function until(what, condition) {
  const giveUpAtMs = performance.now() + PATIENCE_MS;
  while (!(await condition())) {
    if (performance.now() > giveUpAtMs) throw new Error(`waited ${PATIENCE_MS} ms until ${what}`);
    await pause(POLL_MS);
  }
}

/** @returns {Promise<number>} */
export async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  server.close();
  await once(server, 'close');
  return port;
}

/** @param {number} port @returns {Promise<boolean>} */
async function answers(port) {
  try {
    const { ok } = await fetch(`http://127.0.0.1:${port}/`, { headers: { connection: 'close' } });
    return ok;
  } catch {
    return false;
  }
}
