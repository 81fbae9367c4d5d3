// nats-server with JetStream, and what is the same for core NATS and for JetStream.
import { get } from 'node:http';
import { connect } from '@nats-io/transport-node';
import { freePort } from '../../scripts/free-ports.mjs';
import { Program } from './program.mjs';

export const program = '/usr/sbin/nats-server';
export const debianPackage = 'nats-server';

/** By the address of each server that was started here, where it tells of itself. */
const monitors = new Map();

export async function server(folder) {
  const [port, monitor] = [await freePort(), await freePort()];
  const args = ['-a', '127.0.0.1', '-p', String(port), '-m', String(monitor), '-js', '-sd', folder];
  const running = new Program(program, args, port, folder);
  await running.start();
  const url = `nats://127.0.0.1:${port}`;
  monitors.set(url, `http://127.0.0.1:${monitor}`);
  return {
    url,
    get pid() {
      return running.pid;
    },
    start: () => running.start(),
    stop: (signal) => running.stop(signal),
    accepted: async () => (await told(url, 'varz')).total_connections,
  };
}

/** What the server at this address tells of itself; that opens no connection of a client. */
export async function told(url, what) {
  return JSON.parse(await textOf(`${monitors.get(url)}/${what}`));
}

/** A connection of a generation. It goes on trying for as long as the server is away. */
export function open(url) {
  return connect({ servers: url, maxReconnectAttempts: -1, reconnectTimeWait: 100, timeout: 2000 });
}

function textOf(url) {
  return new Promise((resolve, reject) => {
    get(url, { agent: false }, async (response) => {
      let text = '';
      for await (const chunk of response) text += chunk;
      resolve(text);
    }).once('error', reject);
  });
}
