import type { Server, Socket } from 'node:net';
import type { MoultError } from '../../errors.js';

/*
 * What a service has declared movable. A service imports moult from its own folder, and the supervisor's moult is
 * loaded into the same process: two copies of this module may meet. So the declarations are kept on globalThis
 * under a symbol that all copies know, as objects of the shape below, and the shape is part of the symbol's name.
 */

/** The most bytes of data that one connection may take along. What a frame can carry is not less. */
export const MAX_DATA_BYTES = 4 * 1024 * 1024;

/**
 * - `ready`: it may leave now
 * - `busy`: the service has something pending on it; it can be waited for with reads held back
 * - `receiving`: only more of what its client sends brings it to a point at which it may leave
 */
export type MoverPhase = 'ready' | 'busy' | 'receiving';

/** Knows the connections of one kind: when they may leave, what goes along, and how they are made again. */
export interface Mover {
  /** By which the other side finds its own mover for the same connections of a listener. */
  readonly name: string;
  /** The version of the data that `save` gives. */
  readonly version: number;
  /** The oldest version of data that this side can restore; the newest is its own. */
  readonly oldestVersion: number;
  /** The most bytes that may go along with one connection. */
  readonly maxBytes: number;
  /** Whether connections of this server can be restored here. */
  takesFor(server: Server): boolean;
  /** Where a connection stands. What it throws says why the connection cannot leave at all. */
  phase(socket: Socket): MoverPhase;
  /**
   * Whether what it waits for is work of its own that ends without the client, such as inflating what was read: then
   * reads may be held back for as long as that takes.
   */
  isWorking?(socket: Socket): boolean;
  /** Keeps back, above the socket, what the service sends from now on. */
  hold(socket: Socket): void;
  /** Whether what was sent before the hold has reached the socket. */
  isQuiet(socket: Socket): boolean;
  /** A second socket that goes along with the connection, and is given to {@link Mover.restore}. */
  partner?(socket: Socket): Socket | undefined;
  /**
   * What goes along; structured-cloneable. Called with reads stopped and a hold: in the turn in which the connection
   * leaves, or, for a mover that has returned a promise before, ahead of that.
   */
  save(socket: Socket): unknown;
  /** Whether the service has decided since `hold` that the connection stays, such as by closing it. */
  stays(socket: Socket): boolean;
  /** What was held back since `hold`, to be sent by the other side; undefined for nothing. */
  late(socket: Socket): unknown;
  /** Ends the hold: what was held back is sent here. */
  release(socket: Socket): void;
  /** The connection has left: its object here must fall silent. Called before the socket is destroyed. */
  left(socket: Socket): void;
  /**
   * Makes the connection's object anew, on a socket that has not read anything, and sends what came late.
   * Reading begins when it returns, or when its promise settles; the mover has a partner read by itself.
   */
  restore(
    socket: Socket,
    saved: unknown,
    late: unknown,
    version: number,
    partner?: Socket,
  ): void | Promise<void>;
  /** Ends a connection that cannot go on: its `restore` threw, or it is left at the deadline of a drain. */
  abandon(socket: Socket): void;
  /** Connections begin to leave: time for what belongs to no connection, and would be looked for at the other side. */
  leaving?(): void;
  /** They leave no more. */
  staying?(): void;
  /** A connection cannot leave, and is drained: tells why, once a connection. */
  stayed(socket: Socket, error: MoultError): void;
}

interface Declared {
  readonly movers: Set<Mover>;
  /** The mover of a socket; it comes before that of the socket's server. */
  readonly ofSocket: WeakMap<Socket, Mover>;
  /** The mover of all connections of a server. */
  readonly ofServer: WeakMap<Server, Mover>;
  /** How many things are pending on a socket, or on what a mover has for one. */
  readonly pending: WeakMap<object, number>;
  /** Told when a connection may have come to a point at which it can leave. */
  readonly lookers: Set<(socket: Socket) => void>;
}

const KEY = Symbol.for('moult.movers.1');

function declared(): Declared {
  const shared = globalThis as { [KEY]?: Declared };
  shared[KEY] ??= {
    movers: new Set(),
    ofSocket: new WeakMap(),
    ofServer: new WeakMap(),
    pending: new WeakMap(),
    lookers: new Set(),
  };
  return shared[KEY];
}

/** Makes a mover known: for every connection of a server, or for the sockets that are given to it later. */
export function declare(mover: Mover, server?: Server): void {
  declared().movers.add(mover);
  if (server !== undefined) declared().ofServer.set(server, mover);
}

/** Forgets a mover; connections that have it stay. */
export function withdraw(mover: Mover): void {
  declared().movers.delete(mover);
}

/** Gives a connection to a mover. */
export function give(socket: Socket, mover: Mover): void {
  declared().ofSocket.set(socket, mover);
  look(socket);
}

/** Takes a connection back from a mover: it is one of its server again. */
export function takeBack(socket: Socket): void {
  declared().ofSocket.delete(socket);
  look(socket);
}

/** The mover of a connection of this server, if the service has declared one. */
export function moverOf(socket: Socket, server: Server): Mover | undefined {
  const { ofSocket, ofServer, movers } = declared();
  const mover = ofSocket.get(socket) ?? ofServer.get(server);
  return mover !== undefined && movers.has(mover) ? mover : undefined;
}

/** Whether a connection is, or was, of a mover: it speaks no HTTP/1.1 of its own, also when the mover is withdrawn. */
export function isGiven(socket: Socket, server: Server): boolean {
  const { ofSocket, ofServer } = declared();
  return ofSocket.has(socket) || ofServer.has(server);
}

/** The movers that can restore connections of this server. */
export function moversFor(server: Server): Mover[] {
  return [...declared().movers].filter((mover) => mover.takesFor(server));
}

/** All that the service has declared. */
export function allMovers(): Mover[] {
  return [...declared().movers];
}

/** Whether something is pending on it. */
export function isBusy(subject: object): boolean {
  return (declared().pending.get(subject) ?? 0) > 0;
}

/** Notes that something is pending. @returns ends it, once. */
export function begin(subject: object, socket: () => Socket | undefined): () => void {
  const { pending } = declared();
  pending.set(subject, (pending.get(subject) ?? 0) + 1);
  let isOver = false;
  return () => {
    if (isOver) return;
    isOver = true;
    const left = (pending.get(subject) ?? 1) - 1;
    pending.set(subject, left);
    const of = left === 0 ? socket() : undefined;
    if (of !== undefined) look(of);
  };
}

/** A connection may have come to a point at which it can leave. */
export function look(socket: Socket): void {
  for (const looker of declared().lookers) looker(socket);
}

/** Is told of every {@link look}. @returns ends that. */
export function onLook(looker: (socket: Socket) => void): () => void {
  const { lookers } = declared();
  lookers.add(looker);
  return () => lookers.delete(looker);
}
