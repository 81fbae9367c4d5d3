import type { RemoteInfo, Socket } from 'node:dgram';
import type { Channel } from '../channel/channel.js';
import { flowsOf } from '../connections/flows.js';
import type { DatagramListener } from '../listeners/datagram-listener.js';
import type { ListenerRegistry } from '../listeners/registry.js';
import { FlowPeer } from './flow-peer.js';

type Emit = Socket['emit'];

/** Brings each datagram to the generation that has its flow, and to this one where none has. */
export class FlowExchange {
  #listeners: ListenerRegistry;
  #peers = new Set<FlowPeer>();
  /** Those of this generation, also after it has given them up: their flows go on here. */
  #known = new Map<string, DatagramListener>();
  /** The own `emit` of sockets on which other generations have, or had, flows: others may have put theirs over ours since. */
  #hooked = new Map<Socket, Emit>();

  constructor(listeners: ListenerRegistry) {
    this.#listeners = listeners;
  }

  /** From now on flows may be the other side's of this channel, and ours are told to it when asked to. */
  join(channel: Channel): FlowPeer {
    const peer = new FlowPeer(channel, {
      sockets: () => this.#sockets(),
      others: (name) => this.#keysOfOthers(peer, name),
      deliver: (name, message, remote) => this.#deliver(peer, name, message, remote),
      keep: (name, message, remote) => this.#give(name, message, remote),
      changed: (name, key, isTheirs) => {
        if (isTheirs) this.#hook(name);
        for (const other of this.#peers) if (other !== peer) other.tellChange(name, key, isTheirs);
      },
    });
    this.#peers.add(peer);
    channel.closed.then(() => {
      this.#peers.delete(peer);
      peer.forget();
    });
    return peer;
  }

  #sockets(): { name: string; socket: Socket }[] {
    this.#learn();
    return [...this.#known].map(([name, { socket }]) => ({ name, socket }));
  }

  #named(name: string): DatagramListener | undefined {
    if (!this.#known.has(name)) this.#learn();
    return this.#known.get(name);
  }

  #learn(): void {
    for (const listener of this.#listeners.datagrams()) this.#known.set(listener.identity.name, listener);
  }

  #keysOfOthers(than: FlowPeer, name: string): string[] {
    return [...this.#peers].filter((peer) => peer !== than).flatMap((peer) => [...peer.theirs(name)]);
  }

  /** What came over a channel. @returns false where it is the other side's after all: its flow has ended here. */
  #deliver(from: FlowPeer, name: string, message: Buffer, remote: RemoteInfo): boolean {
    const listener = this.#named(name);
    if (listener === undefined) return false;
    const { socket } = listener;
    const table = flowsOf(socket);
    const key = table?.keyOf(message, remote);
    const isOurs = key !== undefined && table?.own.has(key);
    const owner = [...this.#peers].find((peer) => peer !== from && key && peer.theirs(name).has(key));
    if (!isOurs && owner !== undefined) {
      owner.forward(name, message, remote);
      return true;
    }
    // Of no flow that is known: it is for who receives.
    if (!isOurs && listener.state !== 'open') return false;
    this.#emit(socket, message, remote);
    return true;
  }

  /** The service gets it, whoever has its flow. */
  #give(name: string, message: Buffer, remote: RemoteInfo): void {
    const socket = this.#named(name)?.socket;
    if (socket !== undefined) this.#emit(socket, message, remote);
  }

  #emit(socket: Socket, message: Buffer, remote: RemoteInfo): void {
    const emit = this.#hooked.get(socket) ?? socket.emit;
    try {
      Reflect.apply(emit, socket, ['message', message, remote]);
    } catch (error) {
      // As where it comes from the kernel: the service's own affair, and no reason to close the channel.
      process.nextTick(() => {
        throw error;
      });
    }
  }

  #hook(name: string): void {
    const socket = this.#named(name)?.socket;
    if (socket === undefined || this.#hooked.has(socket)) return;
    const own = socket.emit;
    this.#hooked.set(socket, own);
    const exchange = this;
    socket.emit = function (this: Socket, event: string | symbol, ...args: unknown[]): boolean {
      if (event === 'message' && exchange.#forwards(name, socket, args as [Buffer, RemoteInfo])) return true;
      return Reflect.apply(own, this, [event, ...args]);
    } as Emit;
  }

  #forwards(name: string, socket: Socket, [message, remote]: [Buffer, RemoteInfo]): boolean {
    if (![...this.#peers].some((peer) => peer.theirs(name).size > 0)) return false;
    const table = flowsOf(socket);
    const key = table?.keyOf(message, remote);
    if (key === undefined || table?.own.has(key)) return false;
    const owner = [...this.#peers].find((peer) => peer.theirs(name).has(key));
    owner?.forward(name, message, remote);
    return owner !== undefined;
  }
}
