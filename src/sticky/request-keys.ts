import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { cookieIn } from './cookie.js';

/** Whose the last request of each connection was, by a cookie. */
export class RequestKeys {
  readonly #keys = new WeakMap<Socket, string>();
  readonly #changed: (socket: Socket) => void;
  #cookie: string | undefined;

  /** @param changed is told of a connection that has another client's request than before, or its first one. */
  constructor(changed: (socket: Socket) => void) {
    this.#changed = changed;
  }

  /** Watches for a cookie of this name, or no more. */
  watch(cookie: string | undefined): void {
    if (cookie === this.#cookie) return;
    if (this.#cookie === undefined) subscribe('http.server.request.start', this.#onRequest);
    if (cookie === undefined) unsubscribe('http.server.request.start', this.#onRequest);
    this.#cookie = cookie;
  }

  /** What is known of the last request; undefined where it had no such cookie. */
  of(socket: Socket): string | undefined {
    return this.#keys.get(socket);
  }

  // Source: Node's documentation of diagnostics_channel: published before the service sees the request.
  readonly #onRequest = (message: unknown): void => {
    const { request, socket } = message as { request: IncomingMessage; socket: Socket };
    const name = this.#cookie;
    const value = name === undefined ? undefined : cookieIn(request.headers.cookie ?? '', name);
    // One without a cookie says nothing new of its connection.
    if (value === undefined) return;
    const key = `${name}=${value}`;
    if (this.#keys.get(socket) === key) return;
    this.#keys.set(socket, key);
    this.#changed(socket);
  };
}
