import type { RemoteInfo, Socket } from 'node:dgram';
import type { Channel } from '../channel/channel.js';
import { type FlowTable, flowsOf } from '../connections/flows.js';
import type { DatagramListener } from '../listeners/datagram-listener.js';
import type { ListenerRegistry } from '../listeners/registry.js';
import { type Datagram, FlowPeer } from './flow-peer.js';

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
      isHad: (name, key) => this.#isHad(peer, name, key),
      deliver: (name, datagram) => this.#deliver(name, datagram),
      keep: (name, datagram) => this.#give(name, datagram),
      acknowledged: (withinMs) => {
        const others = [...this.#peers].filter((other) => other !== peer);
        return Promise.all(others.map((other) => other.acknowledged(withinMs)));
      },
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

  #isHad(than: FlowPeer, name: string, key: string): boolean {
    const socket = this.#named(name)?.socket;
    if (socket !== undefined && flowsOf(socket)?.own.has(key)) return true;
    return [...this.#peers].some((peer) => peer !== than && peer.theirs(name).has(key));
  }

  // While datagrams of a flow may still come back, all others of it come after them, whoever has it.
  #ownerOf(name: string, key: string, table: FlowTable, sender?: FlowPeer): FlowPeer | undefined {
    const peers = [...this.#peers].filter((peer) => peer !== sender);
    const ending = peers.find((peer) => peer.isEnding(name, key));
    if (ending !== undefined || table.own.has(key)) return ending;
    return peers.find((peer) => peer.isOwner(name, key));
  }

  /** Of one that was held here, or came over a channel. */
  #deliver(name: string, datagram: Datagram): void {
    const { message, remote, sender } = datagram;
    const listener = this.#named(name);
    const table = listener === undefined ? undefined : flowsOf(listener.socket);
    const key = table?.keyOf(message, remote);
    if (table !== undefined && key !== undefined) {
      const owner = this.#ownerOf(name, key, table, sender?.peer);
      if (owner !== undefined) {
        owner.forward(name, key, datagram);
        return;
      }
    }
    // Of no flow that is known: it is for who receives.
    const isOurs = key !== undefined && table?.own.has(key) === true;
    if (!isOurs && listener?.state !== 'open' && sender?.peer.takesBack) {
      // Known there before it is there: nothing that is received there comes before it.
      if (key !== undefined) sender.peer.tellEnded(name, key);
      sender.dealtWith(true);
      return;
    }
    this.#give(name, datagram);
    sender?.dealtWith(false);
  }

  /** The service gets it, whoever has its flow. */
  #give(name: string, { message, remote }: Datagram): void {
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
    if (table === undefined || key === undefined) return false;
    const owner = this.#ownerOf(name, key, table);
    owner?.forward(name, key, { message, remote });
    return owner !== undefined;
  }
}
