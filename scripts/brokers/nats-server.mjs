// nats-server with JetStream, and what is the same for core NATS and for JetStream.
import { get } from 'node:http';
import { connect } from '@nats-io/transport-node';
import { freePort, Program } from './program.mjs';

export const program = '/usr/sbin/nats-server';
export const debianPackage = 'nats-server';

export async function server(folder) {
  const [port, monitor] = [await freePort(), await freePort()];
  const args = ['-a', '127.0.0.1', '-p', String(port), '-m', String(monitor), '-js', '-sd', folder];
  const running = new Program(program, args, port, folder);
  await running.start();
  return {
    url: `nats://127.0.0.1:${port}`,
    get pid() {
      return running.pid;
    },
    start: () => running.start(),
    stop: (signal) => running.stop(signal),
    accepted: async () => JSON.parse(await textOf(`http://127.0.0.1:${monitor}/varz`)).total_connections,
  };
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
