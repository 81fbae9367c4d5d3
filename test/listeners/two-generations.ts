import type { Socket as DatagramSocket } from 'node:dgram';
import { type AddressInfo, connect, Server, type Socket } from 'node:net';
import { bind } from '#moult/listeners/bind.js';
import { listen } from '#moult/listeners/listen.js';
import type { Listener } from '#moult/listeners/listener.js';
import { ListenerRegistry } from '#moult/listeners/registry.js';
import { hookBind } from '#moult/node/listening/bind-hook.js';
import { type Listen2, throughHook } from '#moult/node/listening/listen-hook.js';
import { duplicate } from '#moult/os/descriptors/descriptor.js';
import { eventOf } from '../support/events.js';
import type { Later } from '../support/tidy.js';

const belongsTo = new WeakMap<Server, ListenerRegistry>();
const prototype = Server.prototype as unknown as { _listen2: Listen2 };
const original = prototype._listen2;

// As src/service/preload.cts does it; here each server says to which generation it belongs.
prototype._listen2 = function (this: Server, ...args: Parameters<Listen2>) {
  const registry = belongsTo.get(this);
  if (registry === undefined) original.apply(this, args);
  else throughHook((request, proceed) => listen(registry, request, proceed), this, original, args);
};

/** One generation's listeners, with what it told. */
export class GenerationOfListeners {
  readonly registry: ListenerRegistry;
  readonly told: string[] = [];

  constructor(later: Later, predecessor?: GenerationOfListeners) {
    const tell = (what: string) => (listener: Listener) =>
      this.told.push(`${what} ${listener.identity.name}`);
    this.registry = new ListenerRegistry(predecessor !== undefined, {
      bound: tell('bound'),
      claimed: tell('claimed'),
      closed: tell('closed'),
    });
    if (predecessor !== undefined) {
      const { items, descriptors } = predecessor.registry.describe();
      this.registry.inherited.takeOver(JSON.parse(JSON.stringify(items)), descriptors.map(duplicate));
    }
    later(() => {
      this.registry.dropUnclaimed();
      for (const listener of this.registry.own()) this.registry.release(listener, true);
    });
  }

  /** Makes a server listen as the service does, through this generation. */
  async listen<T extends Server>(later: Later, server: T, ...args: unknown[]): Promise<T> {
    belongsTo.set(server, this.registry);
    later(() => closed(server));
    (server.listen as (...all: unknown[]) => void)(...args);
    await eventOf(server, 'listening');
    return server;
  }

  /** Binds a datagram socket as the service does, through this generation. */
  async bind(later: Later, socket: DatagramSocket, ...args: unknown[]): Promise<DatagramSocket> {
    later(() => closedSocket(socket));
    this.own(socket);
    const listening = eventOf(socket, 'listening');
    const failed = new Promise<never>((_resolve, reject) => socket.once('error', reject));
    (socket.bind as (...all: unknown[]) => void)(...args);
    await Promise.race([listening, failed]);
    return socket;
  }

  own(owner: Server | DatagramSocket): void {
    if (owner instanceof Server) belongsTo.set(owner, this.registry);
    else hookBind(owner, (request) => bind(this.registry, request));
  }
}

export function closed(server: Server): Promise<void> {
  return new Promise((resolve) => {
    if (server.listening) server.close(() => resolve());
    else resolve();
  });
}

export function closedSocket(socket: DatagramSocket): Promise<void> {
  return new Promise((resolve) => {
    try {
      socket.close(() => resolve());
    } catch {
      // It is closed.
      resolve();
    }
  });
}

export const addressOf = (server: Server) => server.address() as AddressInfo;

/** What a client is told that connects and says a word: the answer, or the reason why there is none. */
export function visit(where: object): {
  answer: Promise<string>;
  connected: Promise<unknown>;
  socket: Socket;
} {
  const socket = connect({ ...where } as { port: number });
  const connected = new Promise((resolve, reject) =>
    socket.once('connect', () => resolve(undefined)).once('error', reject),
  );
  connected.catch(() => {});
  const answer = new Promise<string>((resolve) => {
    let text = '';
    const timer = setTimeout(() => {
      resolve('no answer');
      socket.destroy();
    }, 10_000);
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'error'));
    socket.once('close', () => {
      clearTimeout(timer);
      resolve(text);
    });
  });
  return { answer, connected, socket };
}
