import { createServer } from 'node:http';
import { Socket } from 'node:net';
import { closeDescriptor } from '../os/descriptors/descriptor.js';
import {
  descriptorSocketPair,
  receiveDescriptors,
  sendDescriptors,
  streamSocketPair,
} from '../os/sockets/descriptor-socket.js';
import { descriptorOf } from './handle.js';
import {
  betweenRequests,
  freeze,
  giveToServer,
  http1Phase,
  socketOn,
  trackWithoutListening,
} from './http/http1.js';

/** How long the whole test may take before it counts as failed. */
const TIMEOUT_MS = 5000;
const REQUEST = 'GET /moult-self-test HTTP/1.1\r\nHost: moult\r\n\r\n';

/**
 * Does in a few milliseconds, over a socket pair, what a restart does: a real HTTP server answers, the
 * connection is frozen with a request on its way, its descriptor is passed, adopted, and answers again.
 * @returns `yes`, or why connections of this kind must be drained instead on this Node.
 */
export async function http1Moves(): Promise<string> {
  const [near, far] = streamSocketPair();
  const records = descriptorSocketPair();
  const client = new Socket({ fd: near, readable: true, writable: true });
  client.on('error', () => {});
  const server = createServer((_request, response) => response.end('moult'));
  const stopTracking = trackWithoutListening(server);
  const first = new Socket({ fd: far, readable: true, writable: true, allowHalfOpen: true });
  const sockets = [client, first];
  let timer: NodeJS.Timeout | undefined;
  try {
    const timeout = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(new Error(`no answer within ${TIMEOUT_MS} ms`)), TIMEOUT_MS);
    });
    return await Promise.race([timeout, run()]);
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    clearTimeout(timer);
    stopTracking();
    for (const socket of sockets) socket.destroy();
    for (const fd of records) closeDescriptor(fd);
  }

  async function run(): Promise<string> {
    giveToServer(server, first);
    expectPhase(first, 'rest', 'a fresh connection');
    client.write(REQUEST);
    await answer(client);
    await new Promise((resolve) => setImmediate(resolve));
    expectPhase(first, 'rest', 'a connection between two requests');
    const bytesBefore = first.bytesRead;
    freeze(first);
    client.write(REQUEST);
    await new Promise((resolve) => setImmediate(resolve));
    expectPhase(first, 'rest', 'a frozen connection');
    if (first.bytesRead !== bytesBefore) throw new Error('a frozen connection went on reading');
    if (!sendDescriptors(records[0], 1, [descriptorOf(first)]))
      throw new Error('a descriptor could not be sent');
    const record = receiveDescriptors(records[1]);
    const passed = record?.descriptors[0];
    if (passed === undefined) throw new Error('a descriptor did not arrive');
    first.destroy();
    const second = socketOn(passed, server);
    sockets.push(second);
    second.once('data', (chunk: Buffer) => giveToServer(server, second, chunk));
    await answer(client);
    return 'yes';
  }

  function expectPhase(socket: Socket, phase: string, what: string): void {
    const found = http1Phase(socket, betweenRequests(server));
    if (found !== phase) throw new Error(`${what} was taken for ${found}, not ${phase}`);
  }
}

function answer(client: Socket): Promise<void> {
  return new Promise((resolve, reject) => {
    let text = '';
    const read = (chunk: Buffer) => {
      text += chunk.toString('latin1');
      if (!text.endsWith('\r\n\r\nmoult')) return;
      client.off('data', read);
      resolve();
    };
    client.on('data', read);
    client.once('error', reject);
  });
}
