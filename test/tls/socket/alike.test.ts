// Long because it is one list: each play is a few lines, and all are seen by the same two servers.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import type { Server as HttpServer, IncomingMessage, ServerResponse } from 'node:http';
import { Server as HttpsServer, type ServerOptions } from 'node:https';
import { connect, type Socket } from 'node:net';
import { describe } from 'node:test';
import type { TLSSocket } from 'node:tls';
import { adoptTlsHttp1 } from '#moult/connections/adopting/adopt-tls.js';
import { ConnectionTracker } from '#moult/connections/tracker.js';
import { encodeTlsState } from '#moult/tls/state/state-codec.js';
import { until } from '../../support/events.js';
import { temporaryFolder } from '../../support/temporary-folder.js';
import { type Later, tidy } from '../../support/tidy.js';
import { type Authority, makeAuthority } from '../authority.js';
import { connectKnown, listenKnown, takeDescriptor } from '../move-here.js';

/** What a client does with a connection of an https server, and what the server does of its own. */
interface Play {
  readonly options?: ServerOptions;
  readonly setUp?: (server: HttpServer, notes: string[]) => void;
  readonly serve?: (request: IncomingMessage, response: ServerResponse, notes: string[]) => void;
  readonly act: (client: Client, server: HttpServer, notes: string[]) => unknown;
}

const GET = 'GET /get HTTP/1.1\r\nHost: x\r\n\r\n';
const LAST = 'GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n';
const post = (length: number, more = '') =>
  `POST /post HTTP/1.1\r\nHost: x\r\nContent-Length: ${length}\r\n${more}\r\n`;

const PLAYS: Readonly<Record<string, Play>> = {
  'pipelined requests': { act: ({ write }) => write(GET.repeat(20) + LAST) },
  'requests byte by byte': {
    act: async ({ write, tick }) => {
      for (const byte of `${GET}${post(5)}12345${LAST}`) {
        write(byte);
        await tick();
      }
    },
  },
  'Expect: 100-continue': {
    act: async ({ write, answered }) => {
      write(post(4, 'Expect: 100-continue\r\n'));
      await answered('HTTP/1.1 100 Continue\r\n\r\n');
      write(`body${LAST}`);
    },
  },
  'a chunked body with trailers, and HEAD': {
    act: ({ write }) => {
      write('POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: a\r\n\r\n');
      write(`3\r\nabc\r\n0\r\na: b\r\n\r\nHEAD / HTTP/1.1\r\nHost: x\r\n\r\n${LAST}`);
    },
  },
  'a long body that the service pauses': {
    serve: (request, response) => {
      request.pause();
      setImmediate(() => {
        digest(request, response);
        request.resume();
      });
    },
    act: ({ write }) => {
      write(post(2_000_000));
      write('x'.repeat(2_000_000));
      write(LAST);
    },
  },
  'hints before an answer': {
    serve: (_request, response) => {
      response.writeProcessing();
      response.writeEarlyHints({ link: '</a>; rel=preload' });
      response.end('late');
    },
    act: ({ write }) => write(LAST),
  },
  'an upgrade': {
    setUp: (server) =>
      server.on('upgrade', (_request, socket: Socket, head: Buffer) => {
        socket.write(
          `HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n${head}`,
        );
        socket.pipe(socket);
      }),
    act: async ({ write, end, answered }) => {
      write('GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nhead');
      await answered('head');
      write('and more');
      await answered('more');
      end();
    },
  },
  'an upgrade that nobody serves': {
    act: ({ write }) =>
      write(`GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n${LAST}`),
  },
  'what is no request': { act: ({ write }) => write('what is this?\r\n\r\n') },
  'what is no request, for a service that says so itself': {
    setUp: (server, notes) =>
      server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
        notes.push(`clientError ${error.code}`);
        socket.end('HTTP/1.1 418 No\r\n\r\n');
      }),
    act: ({ write }) => write('what is this?\r\n\r\n'),
  },
  keepAliveTimeout: {
    setUp: (server) => {
      server.keepAliveTimeout = 20;
    },
    act: ({ write }) => write(GET),
  },
  headersTimeout: {
    options: { headersTimeout: 50, connectionsCheckingInterval: 10 },
    act: ({ write }) => write('GET / HTTP/1.1\r\nHost'),
  },
  requestTimeout: {
    options: { headersTimeout: 50, requestTimeout: 50, connectionsCheckingInterval: 10 },
    act: ({ write }) => write(`${post(10)}12345`),
  },
  'the time-out of a server, and its event': {
    setUp: (server, notes) => {
      server.setTimeout(30, (socket) => {
        notes.push('timeout');
        socket.destroy();
      });
    },
    serve: () => {},
    act: ({ write }) => write(GET),
  },
  'the time-out of a socket under a response': {
    serve: (request, _response, notes) => {
      request.socket.setTimeout(30, () => {
        notes.push('timeout');
        request.socket.end('late');
      });
    },
    act: ({ write }) => write(GET),
  },
  maxRequestsPerSocket: {
    setUp: (server) => {
      server.maxRequestsPerSocket = 3;
    },
    act: ({ write }) => write(GET.repeat(5)),
  },
  'closeIdleConnections after a request': {
    act: async ({ write, answered }, server) => {
      write(GET);
      await answered('/get 0');
      server.closeIdleConnections();
    },
  },
  'closeAllConnections under a request': {
    serve: (_request, _response, notes) => notes.push('request'),
    act: async ({ write }, server, notes) => {
      write(GET);
      await until(() => notes.includes('request'), 'the request');
      server.closeAllConnections();
    },
  },
  'a client that ends its side behind a request': {
    serve: (request, response) => setImmediate(() => digest(request, response)),
    act: ({ write, end }) => {
      write(GET);
      end();
    },
  },
  'a client that ends its side within a body': {
    act: ({ write, end }) => {
      write(`${post(10)}123`);
      end();
    },
  },
  'a client that resets within a body': {
    act: async ({ write, reset }, _server, notes) => {
      write(`${post(10)}123`);
      await until(() => notes.includes('POST /post'), 'the request');
      reset();
    },
  },
  'an answer that is destroyed on its way': {
    serve: (_request, response) => {
      response.write('a part');
      response.write('', () => response.destroy());
    },
    act: ({ write }) => write(GET),
  },
  'a service that ends the connection itself': {
    serve: (request, response) => {
      response.end('bye');
      request.socket.destroySoon();
    },
    act: ({ write }) => write(GET),
  },
  'a service that listens for the bytes, too': {
    serve: (request, response, notes) => {
      request.socket.on('data', (chunk) => notes.push(`read ${chunk.length}`));
      digest(request, response);
    },
    act: async ({ write, answered }) => {
      write(GET);
      await answered('/get 0');
      write(LAST);
    },
  },
};

describe('a TLS connection that moved to an https server is served as one of its own', () => {
  for (const [name, play] of Object.entries(PLAYS))
    tidy(`with ${name}`, async (later) => {
      const seen = { native: await played(later, play, 'native'), moved: await played(later, play, 'moved') };
      assert.deepEqual(seen.moved, seen.native);
      assert.ok(seen.native.length > 0);
    });
});

let authority: Authority | undefined;

/** What client and server have seen of a play. */
async function played(later: Later, play: Play, kind: 'native' | 'moved'): Promise<string[]> {
  authority ??= makeAuthority(temporaryFolder(later));
  const listener = await listenKnown(later, { ...authority.server, allowHalfOpen: true });
  const raw = connect({ port: listener.port, host: '127.0.0.1', allowHalfOpen: true });
  const known = await connectKnown(later, listener, { socket: raw, allowHalfOpen: true } as object);
  const notes: string[] = [];
  const server = new HttpsServer({ ...authority.server, ...play.options }, (request, response) => {
    notes.push(`${request.method} ${request.url}`);
    request.on('error', (error: NodeJS.ErrnoException) => notes.push(`request: ${error.code}`));
    request.on('aborted', () => notes.push('aborted'));
    response.on('close', () => notes.push(`response: ${response.writableFinished}`));
    (play.serve ?? digest)(request, response, notes);
  });
  play.setUp?.(server, notes);
  // From here on it looks after its connections. Source: node lib/_http_server.js, setupConnectionsTracking.
  server.emit('listening');
  later(() => server.close());
  server.on('secureConnection', (socket: TLSSocket) => {
    later(() => socket.destroy());
    socket.on('close', (hadError: boolean) => notes.push(`closed ${hadError}`));
  });
  const client = new Client(known.client, raw);
  if (kind === 'native') {
    server.emit('secureConnection', known.server);
    known.server.resume();
  } else {
    const bytes = encodeTlsState(known.state);
    assert.ok(bytes);
    const item = {
      listener: 'x',
      kind: 'tls',
      idleLeftMs: null,
      headLeftMs: null,
      requests: 1,
      frozenAtMs: 0,
    };
    adoptTlsHttp1(
      takeDescriptor(known.server),
      server,
      item as never,
      bytes,
      new ConnectionTracker(() => true),
    );
  }
  await play.act(client, server, notes);
  await client.closed;
  if (notes.length > 0) await until(() => notes.some((note) => note.startsWith('closed')), 'the server');
  // In which turn the server hears of an answer that has gone says nothing.
  return [...client.saw, ...notes.sort()];
}

function digest(request: IncomingMessage, response: ServerResponse): void {
  const hash = createHash('sha1');
  let bytes = 0;
  request.on('data', (data: Buffer) => {
    hash.update(data);
    bytes += data.length;
  });
  request.on('end', () => {
    const { a } = request.trailers;
    response.end(`${request.url} ${bytes} ${hash.digest('hex')} ${a ?? ''}`);
  });
}

class Client {
  readonly closed: Promise<unknown>;
  #text = '';
  #events: string[] = [];

  constructor(socket: TLSSocket, raw: Socket) {
    this.write = (text) => socket.write(text);
    this.end = () => socket.end();
    this.reset = () => raw.resetAndDestroy();
    socket.setEncoding('latin1').on('data', (chunk: string) => {
      this.#text += chunk;
    });
    socket.on('end', () => {
      this.#events.push('end');
      socket.end();
    });
    socket.on('error', (error: NodeJS.ErrnoException) => this.#events.push(`client: ${error.code}`));
    this.closed = once(socket, 'close').catch(() => once(socket, 'close'));
  }

  get saw(): string[] {
    return [this.#text.replace(/^Date: .*\r\n/gm, ''), ...this.#events];
  }

  readonly write: (text: string) => void;
  readonly end: () => void;
  readonly reset: () => void;
  readonly tick = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  readonly answered = (text: string): Promise<void> => until(() => this.#text.includes(text), text);
}
