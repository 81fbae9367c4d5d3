import type { RemoteInfo, Socket } from 'node:dgram';
import type { Channel } from '../channel/channel.js';
import { flowsOf, MAX_FLOWS } from '../connections/flows.js';
import { MAX_DATAGRAMS, MAX_FLOW_KEYS, type Message } from '../protocol/messages.js';

/** How many bytes may be on their way to the other side; what comes above it is dropped, as from a full queue. */
const MAX_UNREAD_BYTES = 4 * 1024 * 1024;
/** What goes along with one message, at most. */
const MAX_BATCH_BYTES = 512 * 1024;

/** What one side needs of the rest of its process. */
export interface FlowSurroundings {
  /** The datagram sockets, by the names of their listeners. */
  sockets(): readonly { readonly name: string; readonly socket: Socket }[];
  /** Flows of a listener that belong to other generations than the other side's. */
  others(listener: string): readonly string[];
  /** Gives a datagram to whoever has its flow. @returns false where nobody here has. */
  deliver(listener: string, message: Buffer, remote: RemoteInfo): boolean;
  /** Gives a datagram to the service here. */
  keep(listener: string, message: Buffer, remote: RemoteInfo): void;
  /** A flow has become the other side's, or is so no more. */
  changed(listener: string, key: string, isTheirs: boolean): void;
}

interface Waiting {
  readonly message: Buffer;
  readonly remote: RemoteInfo;
}

/**
 * The flows of one other generation, and ours as it knows them. The side that receives no more tells of its flows
 * before the other one receives; a flow that has ended it must have told, and the other side must have said that it
 * knows, before it may leave: until then datagrams of that flow may still come back to be returned.
 */
export class FlowPeer {
  /** Called when nothing is left for which this side would have to stay. */
  onDone: () => void = () => {};
  /** Datagrams for which there was no room. */
  dropped = 0;
  #channel: Channel;
  #around: FlowSurroundings;
  #theirs = new Map<string, Set<string>>();
  #told = new Map<string, Set<string>>();
  #unseen = 0;
  #outgoing = new Map<string, Waiting[]>();
  #isScheduled = false;
  #unreadBytes = 0;
  #offs: (() => void)[] = [];

  constructor(channel: Channel, around: FlowSurroundings) {
    this.#channel = channel;
    this.#around = around;
    channel.on('flows', (message) => this.#learn(message));
    channel.on('flows-ended', (message) => this.#unlearn(message));
    channel.on('flows-ended-seen', ({ count }) => {
      this.#unseen = Math.max(0, this.#unseen - count);
      this.#checkDone();
    });
    channel.on('datagrams', (message, { attachment }) => this.#receive(message, attachment));
    channel.on('datagrams-received', ({ bytes }) => {
      this.#unreadBytes = Math.max(0, this.#unreadBytes - bytes);
    });
  }

  /** Whether the other side would send nothing that is this side's any more. */
  get isDone(): boolean {
    return this.#unseen === 0 && [...this.#told.values()].every(({ size }) => size === 0);
  }

  /** The flows of a listener that are the other side's. */
  theirs(listener: string): ReadonlySet<string> {
    return this.#theirs.get(listener) ?? new Set();
  }

  /** Tells the other side, which is about to receive, which flows stay here: of the listeners whose flows it knows. */
  tell(listeners: ReadonlySet<string>): void {
    for (const { name, socket } of this.#around.sockets()) {
      const table = flowsOf(socket);
      if (table === undefined || !listeners.has(name)) continue;
      this.#told.set(name, new Set());
      this.#say(name, [...table.own.keys(), ...this.#around.others(name)]);
      const watch = (key: string, hasBegun: boolean) => this.tellChange(name, key, hasBegun);
      table.watchers.add(watch);
      this.#offs.push(() => table.watchers.delete(watch));
    }
  }

  /** A flow of this listener has begun, or ended, on this side. */
  tellChange(listener: string, key: string, hasBegun: boolean): void {
    const told = this.#told.get(listener);
    if (told === undefined || this.#channel.isClosed) return;
    if (hasBegun) {
      this.#say(listener, [key]);
    } else if (told.delete(key)) {
      this.#unseen += 1;
      this.#channel.send({ type: 'flows-ended', listener, keys: [key] });
    }
  }

  /** Nothing of this side is the other side's to know any more: this side receives itself. */
  stopTelling(): void {
    for (const off of this.#offs.splice(0)) off();
    this.#told.clear();
    this.#unseen = 0;
  }

  /**
   * Ends the flows that have not ended by themselves: the other side has them from now on.
   * @returns which they were, when the other side knows, at the latest after this time.
   */
  async leave(withinMs: number): Promise<{ readonly key: string; readonly ageMs: number }[]> {
    const nowMs = performance.now();
    const left: { key: string; ageMs: number }[] = [];
    for (const { name, socket } of this.#around.sockets()) {
      const own = flowsOf(socket)?.own;
      for (const key of [...(this.#told.get(name) ?? [])]) {
        left.push({ key, ageMs: nowMs - (own?.get(key) ?? nowMs) });
        own?.delete(key);
        this.tellChange(name, key, false);
      }
    }
    await new Promise<void>((resolve) => {
      const limit = setTimeout(resolve, withinMs);
      this.onDone = () => {
        clearTimeout(limit);
        resolve();
      };
      this.#checkDone();
    });
    return left;
  }

  /** Sends a datagram to the other side. */
  forward(listener: string, message: Buffer, remote: RemoteInfo): void {
    if (this.#unreadBytes + message.length > MAX_UNREAD_BYTES) {
      this.dropped += 1;
      return;
    }
    this.#unreadBytes += message.length;
    const waiting = this.#outgoing.get(listener) ?? [];
    waiting.push({ message, remote });
    this.#outgoing.set(listener, waiting);
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => this.#flush());
  }

  /** The channel has closed: no flow is the other side's any more. */
  forget(): void {
    this.stopTelling();
    const theirs = [...this.#theirs];
    this.#theirs.clear();
    for (const [listener, keys] of theirs) {
      for (const key of keys) this.#around.changed(listener, key, false);
    }
    this.#checkDone();
  }

  #say(listener: string, keys: readonly string[]): void {
    const told = this.#told.get(listener);
    const fresh = keys.filter((key) => told?.has(key) === false);
    for (const key of fresh) told?.add(key);
    for (let at = 0; at < fresh.length; at += MAX_FLOW_KEYS) {
      this.#channel.send({ type: 'flows', listener, keys: fresh.slice(at, at + MAX_FLOW_KEYS) });
    }
  }

  #learn({ listener, keys }: Message<'flows'>): void {
    const theirs = this.#theirs.get(listener) ?? new Set();
    this.#theirs.set(listener, theirs);
    for (const key of keys) {
      // No process of moult has more; one that says so gets the rest of its datagrams no more.
      if (theirs.size >= 4 * MAX_FLOWS || theirs.has(key)) continue;
      theirs.add(key);
      this.#around.changed(listener, key, true);
    }
  }

  #unlearn({ listener, keys }: Message<'flows-ended'>): void {
    const theirs = this.#theirs.get(listener);
    for (const key of keys) if (theirs?.delete(key)) this.#around.changed(listener, key, false);
    // What was received of them until now goes first: it comes back, and is then for this side.
    this.#flush();
    this.#channel.send({ type: 'flows-ended-seen', count: keys.length });
  }

  #flush(): void {
    this.#isScheduled = false;
    const outgoing = this.#outgoing;
    this.#outgoing = new Map();
    for (const [listener, all] of outgoing) this.#send(listener, all, false);
  }

  #send(listener: string, all: readonly Waiting[], isReturned: boolean): void {
    let batch: Waiting[] = [];
    let bytes = 0;
    const go = () => {
      if (batch.length === 0) return;
      const items = batch.map(({ message, remote: { address, family, port } }) => ({
        address,
        family,
        port,
        bytes: message.length,
      }));
      const returned = isReturned ? { returned: true } : {};
      const attachment = Buffer.concat(batch.map(({ message }) => message));
      this.#channel.send({ type: 'datagrams', listener, items, ...returned }, [], attachment);
      batch = [];
      bytes = 0;
    };
    for (const one of all) {
      if (batch.length === MAX_DATAGRAMS || bytes + one.message.length > MAX_BATCH_BYTES) go();
      batch.push(one);
      bytes += one.message.length;
    }
    go();
  }

  #receive({ listener, items, returned = false }: Message<'datagrams'>, attachment: Buffer): void {
    const back: Waiting[] = [];
    let at = 0;
    for (const { address, family, port, bytes } of items) {
      // As a copy, so that none keeps the memory of all.
      const message = Buffer.from(attachment.subarray(at, at + bytes));
      at += bytes;
      const remote = { address, family, port, size: message.length };
      if (returned) this.#around.keep(listener, message, remote);
      else if (!this.#around.deliver(listener, message, remote)) back.push({ message, remote });
    }
    if (!returned) this.#channel.send({ type: 'datagrams-received', bytes: at });
    // Its flow had ended here before it came.
    this.#send(listener, back, true);
  }

  #checkDone(): void {
    if (this.isDone) this.onDone();
  }
}

/** The listeners of these claims whose flows the other side knows. */
export function listenersWithFlows(claims: Message<'ready'>['claims']): ReadonlySet<string> {
  return new Set(claims.filter(({ flows }) => flows === true).map(({ name }) => name));
}
