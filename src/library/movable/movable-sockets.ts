import type { Socket } from 'socket.io';
import type { MoultError } from '../../errors.js';

/** What a service says of the sockets of its Socket.IO server. */
export interface MovableSockets<Data> {
  /** Tells several servers with the same path apart; default: the server's path. The same in every release. */
  readonly name?: string;
  /** The version of the data that `save` gives; from 1 on, default 1. Raise it when the data changes its meaning. */
  readonly version?: number;
  /** The oldest version of data that `restore` understands; default: `version`. Sockets of others stay. */
  readonly oldestVersion?: number;
  /** The most bytes that may go along with one client; default and most: 4 MiB. */
  readonly maxBytes?: number;
  /** Whether it may leave now, such as between two messages of a transaction; default: always. */
  canMove?(socket: Socket): boolean;
  /**
   * What belongs to a socket beside `socket.data` and its rooms, which go along anyway: anything that
   * `structuredClone` takes; default: nothing. Called when the service is not running; what is sent waits to go
   * along. It must change nothing: the socket may stay after all. It may not return a promise.
   */
  save?(socket: Socket): Data;
  /**
   * Sets up a socket that has moved here: its handlers. It is connected and in its rooms. Nothing is received before
   * it returns, or before its promise settles. Default: its namespace emits 'connection' with it, as for a new one,
   * and `socket.recovered` is true. When it throws, the client is disconnected.
   * @param version of the data.
   */
  restore?(socket: Socket, data: Data, version: number): void | Promise<void>;
  /** The socket has left this process: time to clear timers and lists. It emits no 'disconnect'. */
  moved?(socket: Socket): void;
  /** The socket could not leave, and stays here until it ends; default: one warning for each code. */
  stayed?(socket: Socket, error: MoultError): void;
}
