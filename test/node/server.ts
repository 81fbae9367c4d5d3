import { createServer, type RequestListener, type Server, type ServerOptions } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { eventOf, until } from '../support/events.js';
import type { Later } from '../support/tidy.js';

/** A real HTTP server of this process, and a client that writes bytes as it likes. */
export interface ServerAndClient {
  readonly server: Server;
  /** The server's side of the connection. */
  readonly inside: Socket;
  readonly client: Socket;
  /** What the client has received. */
  readonly received: () => string;
  /** Waits until the server has read so many bytes in all. */
  readonly read: (count: number) => Promise<void>;
  /** Waits until the client has received a text that ends so. */
  readonly answered: (end: string) => Promise<void>;
}

export async function httpServer(
  later: Later,
  listener: RequestListener,
  options: ServerOptions = {},
): Promise<Server> {
  const server = createServer(options, listener).listen(0, '127.0.0.1');
  later(
    () =>
      new Promise((resolve) => {
        server.close(resolve);
        server.closeAllConnections();
      }),
  );
  await eventOf(server, 'listening');
  return server;
}

export async function connectedTo(later: Later, server: Server): Promise<ServerAndClient> {
  const client = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', noDelay: true });
  client.on('error', () => {});
  later(() => client.destroy());
  let text = '';
  client.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1');
  });
  const [inside] = await eventOf<[Socket]>(server, 'connection');
  return {
    server,
    inside,
    client,
    received: () => text,
    read: (count) => until(() => inside.bytesRead >= count, `${count} bytes`),
    answered: (end) =>
      until(
        () => text.endsWith(end),
        `an answer that ends with ${JSON.stringify(end)}, not ${JSON.stringify(text.slice(-80))}`,
      ),
  };
}

export async function serverAndClient(
  later: Later,
  listener: RequestListener,
  options: ServerOptions = {},
): Promise<ServerAndClient> {
  return connectedTo(later, await httpServer(later, listener, options));
}
