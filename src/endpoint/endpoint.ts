import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tryToRemove } from '../os/files/remove.js';
import { isAbandoned } from '../os/unix-sockets/unix-socket.js';
import { type EndpointAddress, endpointText } from './address.js';

/** How long after it failed to listen it is tried again. */
const AGAIN_MS = 2000;
/** A client that takes or gives nothing for so long is closed. */
const IDLE_MS = 10_000;
/** How long a client may take for its request. */
const REQUEST_MS = 5000;

/** Answers a request; what it throws is answered with 500, and goes no further. */
export type RequestHandler = (request: IncomingMessage, response: ServerResponse) => unknown;

/** What an endpoint says of itself. */
export interface EndpointEvents {
  /** It listens. @param where with the port that the system chose. */
  opened(where: EndpointAddress): void;
  /** It cannot listen, and tries again and again. Told once. */
  failed(error: Error): void;
}

/**
 * An HTTP server of moult's own inside a process that has more important things to do: whatever its clients do, and
 * whether or not it can listen, nothing is thrown, no process is kept alive for it, and what it holds is bounded.
 */
export class Endpoint {
  readonly #address: EndpointAddress;
  readonly #events: EndpointEvents;
  readonly #server: Server;
  #again: NodeJS.Timeout | undefined;
  #hasTold = false;
  #isClosed = false;

  /** @param maxConnections that are open at a time; more are closed at once. */
  constructor(
    address: EndpointAddress,
    handler: RequestHandler,
    events: EndpointEvents,
    maxConnections: number,
  ) {
    this.#address = address;
    this.#events = events;
    const options = { requestTimeout: REQUEST_MS, headersTimeout: REQUEST_MS, maxHeaderSize: 8192 };
    this.#server = createServer(options, (request, response) => {
      // Its end is no error of ours.
      response.on('error', () => {});
      request.on('error', () => {});
      Promise.resolve()
        .then(() => handler(request, response))
        .catch((error: unknown) => fail(response, error));
    });
    this.#server.maxConnections = maxConnections;
    this.#server.setTimeout(IDLE_MS, (socket) => socket.destroy());
    this.#server.on('error', (error) => this.#failed(error));
    this.#server.on('connection', (socket) => socket.unref());
    this.#server.on('listening', () => {
      this.#hasTold = false;
      events.opened(this.#where());
    });
    this.#server.unref();
  }

  /** Listens, now or as soon as that is possible. */
  open(): void {
    if (this.#isClosed) return;
    try {
      this.#removeStale();
      if ('path' in this.#address) this.#server.listen(this.#address.path);
      else this.#server.listen(this.#address.port, this.#address.host);
    } catch (error) {
      this.#failed(error as Error);
    }
  }

  /** Closes it with its connections. */
  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#again);
    this.#server.close();
    this.#server.closeAllConnections();
  }

  #where(): EndpointAddress {
    if ('path' in this.#address) return this.#address;
    return { host: this.#address.host, port: (this.#server.address() as AddressInfo).port };
  }

  // What a process before left there: Node removes its own only where it is closed.
  #removeStale(): void {
    if ('path' in this.#address && isAbandoned(this.#address.path)) tryToRemove(this.#address.path);
  }

  #failed(error: Error): void {
    if (this.#isClosed) return;
    const { code } = error as NodeJS.ErrnoException;
    if (!this.#hasTold)
      this.#events.failed(
        new Error(`cannot listen on ${endpointText(this.#address)} (${code ?? String(error)})`),
      );
    this.#hasTold = true;
    clearTimeout(this.#again);
    this.#again = setTimeout(() => this.open(), AGAIN_MS).unref();
  }
}

function fail(response: ServerResponse, error: unknown): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  response.writeHead(500, { 'content-type': 'text/plain; charset=utf-8' });
  response.end(`${error instanceof Error ? error.message : String(error)}\n`);
}
