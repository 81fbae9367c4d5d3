import { createHash } from 'node:crypto';
import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';

/** A server of a test, on a free port of the loopback address. */
export interface TestServer {
  readonly target: { readonly host: string; readonly port: number };
  close(): Promise<void>;
}

/** Serves the echo protocol as it should be. */
export async function goodServer(generation = 'a'): Promise<TestServer> {
  let n = 0;
  const server = http.createServer((request, response) => {
    const hash = createHash('sha1');
    let bytes = 0;
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      hash.update(chunk);
    });
    request.on('end', () => {
      n += 1;
      const id = request.headers['x-moult-id'];
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify({ id, generation, n, bytes, sha1: hash.digest('hex') }));
    });
  });
  server.keepAliveTimeout = 60_000;
  return listen(server);
}

/** What a raw server does with the nth request (from 1) that it reads on a connection. */
export type Misbehaviour = (socket: net.Socket, id: string, n: number) => void;

/** Reads requests without body and answers each as told; requests that came in one piece are told one by one. */
export async function rawServer(onRequest: Misbehaviour): Promise<TestServer> {
  const server = net.createServer((socket) => {
    let text = '';
    let n = 0;
    socket.setNoDelay(true);
    socket.on('error', () => {});
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
      for (let end = text.indexOf('\r\n\r\n'); end !== -1; end = text.indexOf('\r\n\r\n')) {
        const id = /x-moult-id: (\S+)/.exec(text.slice(0, end))?.[1] ?? '';
        text = text.slice(end + 4);
        n += 1;
        onRequest(socket, id, n);
      }
    });
  });
  return listen(server);
}

/** A whole answer of the echo protocol. */
export function echoAnswer(id: string, headers = ''): string {
  const body = JSON.stringify({ id, generation: 1, n: 1, bytes: 0, sha1: '' });
  return `HTTP/1.1 200 OK\r\n${headers}Content-Length: ${body.length}\r\n\r\n${body}`;
}

async function listen(server: net.Server): Promise<TestServer> {
  const sockets = new Set<net.Socket>();
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new TypeError('expected a TCP address');
  return {
    target: { host: '127.0.0.1', port: address.port },
    close: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
