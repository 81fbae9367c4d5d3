/*
 * Over 300 lines: what is told, sent, held and acknowledged are the two directions of one conversation, and share its order.
 */
import type { RemoteInfo, Socket } from 'node:dgram';
import type { Channel } from '../channel/channel.js';
import { type EndingFlow, EndingFlows } from '../connections/ending-flows.js';
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
  /** Whether a flow of a listener belongs to this generation, or to others than the other side's. */
  isHad(listener: string, key: string): boolean;
  /** Gives a datagram to whoever has its flow; where nobody has, to who receives. */
  deliver(listener: string, datagram: Datagram): void;
  /** Gives a datagram to the service here. */
  keep(listener: string, datagram: Datagram): void;
  /** Waits until other generations have all that was sent there, each at the latest after this time. */
  acknowledged(withinMs: number): Promise<unknown>;
  /** A flow has become the other side's, or is so no more. */
  changed(listener: string, key: string, isTheirs: boolean): void;
}

/** A datagram that was received here, or that another generation has sent. */
export interface Datagram {
  readonly message: Buffer;
  readonly remote: RemoteInfo;
  /** Undefined where it was received here, or can't go back. */
  readonly sender?: Sender;
}

/** The generation that has sent a datagram. */
export interface Sender {
  readonly peer: FlowPeer;
  /** The datagram has found its place here, or goes back. Called once. */
  dealtWith(goesBack: boolean): void;
}

/** A message of datagrams that is not acknowledged yet. */
interface Receipt {
  readonly listener: string;
  readonly bytes: number;
  /** How many of its datagrams wait here. */
  waiting: number;
  /** Those that nobody here has. */
  readonly back: Datagram[];
}

/**
 * The flows of one other generation, and ours as it knows them. The side that receives no more tells of its flows
 * before the other one receives; a flow that has ended it must have told, and the other side must have said that it
 * knows, before it may leave: until then datagrams of that flow may still come back to be returned.
 */
export class FlowPeer {
  /** Called when nothing is left for which this side would have to stay. */
  onDone: () => void = () => {};
  #onAcknowledged: () => void = () => {};
  /** Datagrams for which there was no room. */
  dropped = 0;
  #channel: Channel;
  #around: FlowSurroundings;
  #theirs = new Map<string, Set<string>>();
  #told = new Map<string, Set<string>>();
  #unseen = 0;
  #outgoing = new Map<string, Datagram[]>();
  #isScheduled = false;
  #unreadBytes = 0;
  /** How many messages of datagrams were sent, but for those that went back. */
  #sent = 0;
  #acknowledged = 0;
  #endings = new EndingFlows<Datagram>();
  #receipts: Receipt[] = [];
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
      this.#acknowledged += 1;
      this.#endOver();
      if (this.#acknowledged >= this.#sent) this.#onAcknowledged();
    });
  }

  /** Whether the other side would send nothing that is this side's any more. */
  get isDone(): boolean {
    const isToldOfNone = [...this.#told.values()].every(({ size }) => size === 0);
    return this.#unseen === 0 && isToldOfNone && this.#receipts.length === 0;
  }

  /** Whether a datagram that nobody here has goes back. */
  get takesBack(): boolean {
    return !this.#channel.isClosed;
  }

  /** The flows of a listener that are the other side's, with those of which datagrams may still come back. */
  theirs(listener: string): ReadonlySet<string> {
    return this.#theirs.get(listener) ?? new Set();
  }

  /** Whether a flow has ended on the other side, and datagrams of it may still come back. */
  isEnding(listener: string, key: string): boolean {
    return this.#endings.of(listener, key)?.isOver === false;
  }

  /** Whether datagrams of a flow go to the other side. */
  isOwner(listener: string, key: string): boolean {
    return this.theirs(listener).has(key) && this.#endings.of(listener, key) === undefined;
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
    if (hasBegun) this.#say(listener, [key]);
    else if (!this.#around.isHad(listener, key)) this.tellEnded(listener, key);
  }

  /** A flow of this listener is not this side's, whoever had it. */
  tellEnded(listener: string, key: string): void {
    if (this.#channel.isClosed || this.#told.get(listener)?.delete(key) !== true) return;
    this.#unseen += 1;
    this.#channel.send({ type: 'flows-ended', listener, keys: [key] });
  }

  /** Nothing of this side is the other side's to know any more: this side receives itself. */
  stopTelling(): void {
    for (const off of this.#offs.splice(0)) off();
    this.#told.clear();
    this.#unseen = 0;
  }

  /**
   * Ends the flows that have not ended by themselves: the other side has them from now on.
   * @returns which they were, when the other side knows and nothing comes back from others, each at the latest after this time.
   */
  async leave(withinMs: number): Promise<{ readonly key: string; readonly ageMs: number }[]> {
    const nowMs = performance.now();
    const left: { key: string; ageMs: number }[] = [];
    for (const { name, socket } of this.#around.sockets()) {
      const own = flowsOf(socket)?.own;
      for (const key of [...(this.#told.get(name) ?? [])]) {
        left.push({ key, ageMs: nowMs - (own?.get(key) ?? nowMs) });
        own?.delete(key);
        this.tellEnded(name, key);
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
    // What other generations had no flow for any more is this one's.
    await this.#around.acknowledged(withinMs);
    return left;
  }

  /**
   * Waits until the other side has all that was sent there, and this side what came back, at the latest after this time:
   * before the other side receives, as it would not come before what is received there. No more must be received here.
   */
  async acknowledged(withinMs: number): Promise<void> {
    this.#flush();
    if (this.#acknowledged >= this.#sent) return;
    await new Promise<void>((resolve) => {
      const limit = setTimeout(resolve, withinMs);
      this.#onAcknowledged = () => {
        clearTimeout(limit);
        resolve();
      };
    });
  }

  /** Sends a datagram of one of its flows to the other side. */
  forward(listener: string, key: string, datagram: Datagram): void {
    const { message, remote, sender } = datagram;
    if (this.#unreadBytes + message.length > MAX_UNREAD_BYTES) {
      this.dropped += 1;
      sender?.dealtWith(false);
      return;
    }
    this.#unreadBytes += message.length;
    const ending = this.#endings.of(listener, key);
    if (ending?.isOver === false) {
      ending.held.push(datagram);
      return;
    }
    // If it comes back, it is this side's own.
    const outgoing = this.#outgoing.get(listener) ?? [];
    outgoing.push({ message, remote });
    this.#outgoing.set(listener, outgoing);
    sender?.dealtWith(false);
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => this.#flush());
  }

  /** The channel has closed: no flow is the other side's any more. */
  forget(): void {
    this.stopTelling();
    for (const { listener, back } of this.#receipts.splice(0))
      for (const datagram of back) this.#around.deliver(listener, datagram);
    for (const [listener, outgoing] of this.#outgoing)
      for (const datagram of outgoing) this.#around.deliver(listener, datagram);
    this.#outgoing.clear();
    this.#endOver(Number.POSITIVE_INFINITY);
    const theirs = [...this.#theirs];
    this.#theirs.clear();
    for (const [listener, keys] of theirs) {
      for (const key of keys) this.#around.changed(listener, key, false);
    }
    this.#onAcknowledged();
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
      const ending = this.#endings.of(listener, key);
      if (ending !== undefined) {
        this.#endings.delete(ending);
        this.#release(ending);
      }
      // No process of moult has more; one that says so gets the rest of its datagrams no more.
      if (theirs.size >= 4 * MAX_FLOWS || theirs.has(key)) continue;
      theirs.add(key);
      this.#around.changed(listener, key, true);
    }
  }

  #unlearn({ listener, keys }: Message<'flows-ended'>): void {
    // What was received of them until now goes first: it comes back, and is then for this side.
    this.#flush();
    for (const key of keys) if (this.isOwner(listener, key)) this.#endings.add(listener, key, this.#sent);
    this.#channel.send({ type: 'flows-ended-seen', count: keys.length });
    this.#endOver();
  }

  // A generation that is told of an end keeps the next datagram: those that come back were before that.
  #endOver(acknowledged = this.#acknowledged): void {
    for (const ending of this.#endings.over(acknowledged)) {
      const { listener, key } = ending;
      this.#release(ending);
      this.#endings.delete(ending);
      this.#theirs.get(listener)?.delete(key);
      // What came back, or was held, may have begun it here.
      this.#around.changed(listener, key, false);
    }
  }

  // To whoever has the flow now: that may be the other side again.
  #release({ listener, held }: EndingFlow<Datagram>): void {
    for (const datagram of held.splice(0)) {
      this.#unreadBytes -= datagram.message.length;
      this.#around.deliver(listener, datagram);
    }
  }

  #flush(): void {
    this.#isScheduled = false;
    const outgoing = this.#outgoing;
    this.#outgoing = new Map();
    for (const [listener, all] of outgoing) this.#send(listener, all, false);
  }

  #send(listener: string, all: readonly Datagram[], isReturned: boolean): void {
    let batch: Datagram[] = [];
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
      if (!isReturned) this.#sent += 1;
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
    const total = items.reduce((sum, { bytes }) => sum + bytes, 0);
    const receipt: Receipt = { listener, bytes: total, waiting: items.length, back: [] };
    if (!returned) this.#receipts.push(receipt);
    let at = 0;
    for (const { address, family, port, bytes } of items) {
      // As a copy, so that none keeps the memory of all.
      const message = Buffer.from(attachment.subarray(at, at + bytes));
      at += bytes;
      const datagram = { message, remote: { address, family, port, size: message.length } };
      if (returned) this.#around.keep(listener, datagram);
      else this.#around.deliver(listener, { ...datagram, sender: this.#senderOf(datagram, receipt) });
    }
  }

  #senderOf(datagram: Datagram, receipt: Receipt): Sender {
    return {
      peer: this,
      dealtWith: (goesBack) => {
        if (goesBack) receipt.back.push(datagram);
        receipt.waiting -= 1;
        this.#acknowledge();
      },
    };
  }

  // In the order in which they came, and what goes back first: nothing comes back of what is acknowledged.
  #acknowledge(): void {
    for (let next = this.#receipts[0]; next?.waiting === 0; next = this.#receipts[0]) {
      this.#receipts.shift();
      // Its flow had ended here before it came.
      this.#send(next.listener, next.back, true);
      this.#channel.send({ type: 'datagrams-received', bytes: next.bytes });
      this.#checkDone();
    }
  }

  #checkDone(): void {
    if (this.isDone) this.onDone();
  }
}

/** The listeners of these claims whose flows the other side knows. */
export function listenersWithFlows(claims: Message<'ready'>['claims']): ReadonlySet<string> {
  return new Set(claims.filter(({ flows }) => flows === true).map(({ name }) => name));
}
