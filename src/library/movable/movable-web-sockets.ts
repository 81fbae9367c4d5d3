import type { IncomingMessage } from 'node:http';
import type { WebSocket } from 'ws';
import type { MoultError } from '../../errors.js';

/** What a service says of the WebSockets of a server. */
export interface MovableWebSockets<Data> {
  /**
   * Tells several servers without a path of their own apart; default: the server's `path`. It must be the same in
   * every release.
   */
  readonly name?: string;
  /** The version of the data that `save` gives; from 1 on, default 1. Raise it when the data changes its meaning. */
  readonly version?: number;
  /** The oldest version of data that `restore` understands; default: `version`. WebSockets of others stay. */
  readonly oldestVersion?: number;
  /**
   * The most bytes that may go along with one WebSocket, what was received of an unfinished message included;
   * default and most: 4 MiB.
   */
  readonly maxBytes?: number;
  /** Whether it may leave now, such as between two messages of a transaction; default: always. */
  canMove?(ws: WebSocket): boolean;
  /**
   * What belongs to a WebSocket, for the successor: anything that `structuredClone` takes; default: nothing. Called
   * when the service is not running; nothing more is received, and what is sent waits to go along. It must change
   * nothing: the WebSocket may stay after all. May return a promise, which must settle within 5 s.
   */
  save?(ws: WebSocket): Data | Promise<Data>;
  /**
   * Sets up a WebSocket that has moved here. Nothing is received before it returns, or before its promise settles.
   * Default: the server emits 'connection' with it, as for a new one; `hasMoved` tells them apart. When it
   * throws, the WebSocket is closed with 1012.
   * @param request as the client sent it at its upgrade, with its headers.
   * @param version of the data.
   */
  restore?(ws: WebSocket, data: Data, request: IncomingMessage, version: number): void | Promise<void>;
  /** The WebSocket has left this process: time to clear timers and lists. It emits nothing any more. */
  moved?(ws: WebSocket): void;
  /** The WebSocket could not leave, and stays here until it ends; default: one warning for each code. */
  stayed?(ws: WebSocket, error: MoultError): void;
}
