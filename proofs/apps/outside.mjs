// What can be seen of a service from outside: who accepts at its ports, and which processes are left of it.
import { readdirSync, readFileSync } from 'node:fs';
import net from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';

/** Whether somebody accepts there. */
export function accepts(port, host = '127.0.0.1') {
  return new Promise((resolve) => {
    const socket = net.connect(Number(port), host);
    socket.once('connect', () => {
      resolve(true);
      socket.destroy();
    });
    socket.once('error', () => resolve(false));
  });
}

/** The TCP addresses that a status names for the generation that serves. */
export function addressesOf(status) {
  const listeners = status?.generations.find(({ state }) => state === 'serving')?.listeners ?? [];
  return listeners
    .map(({ address }) => address)
    .filter(({ port }) => port !== undefined)
    .map(({ port, address }) => ({
      port,
      host: { '::': '::1', '0.0.0.0': '127.0.0.1' }[address] ?? address,
    }));
}

/** Processes that have a variable with this value, by what they were started with. Waits for them to end, for 10 s at most. */
export async function leftProcesses(variable, value) {
  for (const untilMs = performance.now() + 10_000; ; await pause(100)) {
    const left = processesWith(`${variable}=${value}`);
    if (left.length === 0 || performance.now() > untilMs) return left;
  }
}

function processesWith(setting) {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        if (!readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(setting)) return [];
        const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
        return command === '' ? [] : [{ pid: Number(pid), command }];
      } catch {
        return []; // It has ended, or is another user's.
      }
    });
}

/** A port at which nobody listens. */
export function freePort() {
  return new Promise((resolve, reject) => {
    const server = net.createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
    server.once('error', reject);
  });
}
