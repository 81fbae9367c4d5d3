/*
 * Over 300 lines: it ties the rooms together for a thread as service/generation.ts does for a process, one short
 * method each.
 */
import type { Socket } from 'node:dgram';
import type { Server } from 'node:net';
import { dirname, join } from 'node:path';
import { threadId } from 'node:worker_threads';
import type { Channel } from '../channel/channel.js';
import { Door } from '../channel/door.js';
import { Opening } from '../channel/open.js';
import { Inflow } from '../connections/adopting/inflow.js';
import { watchPipelining } from '../connections/http1/pipelining.js';
import { countRequests } from '../connections/http1/request-limit.js';
import { ResponseCounter } from '../connections/http1/response-counter.js';
import { trackHttp2Sessions } from '../connections/http2-sessions.js';
import { Measuring } from '../connections/measuring.js';
import { moveProxied } from '../connections/moving/proxied.js';
import { ConnectionTracker } from '../connections/tracker.js';
import { MoultError } from '../errors.js';
import { type Movables, type Moves, movableClaims } from '../handover/generation-context.js';
import { NOT_TESTED, testMoves } from '../handover/test-moves.js';
import { bind as bindAs } from '../listeners/bind.js';
import { claimAtPath, listen as listenAs } from '../listeners/listen.js';
import type { Listener } from '../listeners/listener.js';
import {
  datagramName,
  listenerName,
  otherNames,
  UV_TCP_REUSEPORT,
  UV_UDP_REUSEPORT,
} from '../listeners/name.js';
import { ListenerRegistry } from '../listeners/registry.js';
import { StreamListener } from '../listeners/stream-listener.js';
import { shareForWorker } from '../listeners/worker-datagrams.js';
import { handleOf } from '../node/handle.js';
import { giveToServer, isPlainHttp, requestsInFlight, socketOn } from '../node/http/http1.js';
import type { BindRequest } from '../node/listening/bind-hook.js';
import type { DatagramHandle } from '../node/listening/datagram-handle.js';
import type { ListenRequest } from '../node/listening/listen-hook.js';
import { beforeAccepting } from '../node/listening/listening-handle.js';
import type { SharedBindRequest } from '../node/listening/shared-bind.js';
import { decidePaths } from '../node/path-decision.js';
import { isHttps, watchTlsSockets } from '../node/tls-sockets.js';
import { closeDescriptor } from '../os/descriptors/descriptor.js';
import { SocketLinks } from '../os/unix-sockets/socket-links.js';
import type { ListenerItem, Message } from '../protocol/messages.js';
import { ThreadDeparture } from './thread-departure.js';

/** What a process of the service that joins another one does differently from a thread. */
export interface MemberTerms {
  /** How long the other one may take to answer. */
  readonly timeoutMs: number;
  /** The service has come to its end here: this process is to end as well. */
  readonly end: (stopSignal: string) => void;
}

/** How long the main thread may take to answer a thread that is about to listen. */
const OPENING_TIMEOUT_MS = 60_000;

/**
 * Joins the main thread of this process, whose socket for threads is here.
 * @param shut not 0 while no thread may accept.
 * @param member where that main thread is another process's.
 * @throws MOULT_PEER_TIMEOUT, MOULT_PEER_CLOSED
 */
export function joinMain(door: string, shut: Int32Array, member?: MemberTerms): ServiceThread {
  const timeoutMs = member?.timeoutMs ?? OPENING_TIMEOUT_MS;
  const opening = new Opening(door, { role: 'thread', thread: threadId }, timeoutMs);
  try {
    const { message } = opening.hear('thread-welcome');
    return new ServiceThread(door, opening.toChannel(), message, shut, member);
  } catch (error) {
    opening.abandon();
    throw error;
  }
}

/** A worker thread of the service that listens, or another process of it: what it has, as its main thread says. */
export class ServiceThread implements Movables {
  readonly listeners: ListenerRegistry;
  readonly connections: ConnectionTracker;
  moves: Moves = { http1: NOT_TESTED };
  /** Where the threads of the service join. */
  readonly mainDoor: string;
  readonly #member: MemberTerms | undefined;
  readonly #stopSignal: string;
  readonly #main: Channel;
  readonly #generation: number;
  readonly #shut: Int32Array;
  readonly #counter = new ResponseCounter();
  readonly #measuring: Measuring;
  readonly #tested: Promise<void>;
  /** The conversation of the listen() that is being done. */
  #asking: Opening | undefined;
  #departure: ThreadDeparture | undefined;
  #feeds = new Set<Channel>();

  constructor(
    mainDoor: string,
    main: Channel,
    welcome: Message<'thread-welcome'>,
    shut: Int32Array,
    member?: MemberTerms,
  ) {
    const { accepts, generation, settings } = welcome;
    this.mainDoor = mainDoor;
    this.#member = member;
    this.#stopSignal = settings.stopSignal;
    this.#main = main;
    this.#generation = generation;
    this.#shut = shut;
    const events = {
      bound: (listener: Listener) => this.#bound(listener),
      claimed: (listener: Listener) => this.#listens(listener),
      closed: (listener: Listener) => this.#closed(listener.identity.name),
      closedBehindGate: (listener: Listener) => this.#closed(listener.identity.name),
    };
    // What other threads accept on too is closed for good by the main thread alone.
    const links = member === undefined ? undefined : new SocketLinks(dirname(mainDoor));
    this.listeners = new ListenerRegistry(!accepts, events, true, links);
    if (member === undefined) decidePaths(this.listeners.decide);
    this.connections = new ConnectionTracker((server) => this.listeners.of(server) !== undefined);
    this.connections.start();
    moveProxied();
    if (settings.countErrors) this.#counter.start();
    this.#measuring = new Measuring(this.connections);
    if (settings.measures) this.#measuring.startForLife();
    this.#follow(main);
    // A gated listener keeps no thread alive; the wait for its commit does.
    if (accepts) main.unref();
    else main.ref();
    const path = join(dirname(mainDoor), `t${process.pid}-${threadId}.sock`);
    const isOpen = this.#openDoor(path);
    this.#tested = testMoves(settings).then((moves) => {
      this.moves = moves;
      if (isOpen) main.send({ type: 'door', path });
    });
    process.once('exit', (code) => {
      if (member !== undefined) main.send({ type: 'exits', ...(code === 0 ? {} : { failed: true }) });
      this.#closeDescriptors();
    });
  }

  #openDoor(path: string): boolean {
    try {
      Door.open(path, 'predecessor', this.#visit).keep();
      return true;
    } catch {
      // Without one it serves, and takes no connections of others.
      return false;
    }
  }

  /** What becomes of a listen(): it claims what the process has under this name, or binds it for the process. */
  listen(request: ListenRequest, proceed: () => void): void {
    if (handleOf(request.server) !== undefined) {
      listenAs(this.listeners, request, proceed);
      return;
    }
    const name = this.listeners.freeName(listenerName(request));
    const sharesPort = request.port >= 0 && (request.flags & UV_TCP_REUSEPORT) !== 0;
    this.#ask(
      [name, ...otherNames(request)],
      (item, fd) => {
        if (item === undefined) listenAs(this.listeners, request, proceed);
        else claimAtPath(this.listeners, request, { item, fd }, proceed);
      },
      sharesPort,
    );
  }

  /** The same of a datagram socket's bind(). @returns 0, or a negative error number of libuv. */
  bind(request: BindRequest): number {
    const name = this.listeners.freeName(datagramName(request));
    const sharesPort = (request.flags & UV_UDP_REUSEPORT) !== 0;
    return this.#ask([name], () => bindAs(this.listeners, request), sharesPort);
  }

  /** The same of a datagram socket that this process, the primary of node:cluster, binds for its workers: they join by themselves. */
  bindForWorkers(request: SharedBindRequest): number {
    const name = this.listeners.freeName(datagramName(request));
    return this.#ask([name], (item, fd) => {
      if (item !== undefined) {
        const error = request.take(fd);
        this.listeners.inherited.withdraw(item.name);
        return error;
      }
      const error = request.proceed();
      if (error !== 0) return error;
      this.#asking?.say({ type: 'hold', listener: { name, family: 'udp', path: null, backlog: 0 } }, [
        request.handle.fd,
      ]);
      return 0;
    });
  }

  /** In a worker of node:cluster: it receives on this socket when it may; its primary has bound it. */
  share(
    socket: Socket,
    handle: DatagramHandle,
    asked: Pick<BindRequest, 'address' | 'port' | 'flags'>,
  ): void {
    shareForWorker(this.listeners, socket, handle, asked);
  }

  /** Asks the main thread for a listener. @param then is given what that has under this name, if it has; it is inherited. */
  #ask<T>(
    wants: readonly string[],
    then: (item: ListenerItem | undefined, fd: number) => T,
    sharesPort = false,
  ): T {
    const asked = new Opening(
      this.mainDoor,
      { role: 'thread', thread: threadId, wants: [...wants], ...(sharesPort ? { sharesPort } : {}) },
      this.#member?.timeoutMs ?? OPENING_TIMEOUT_MS,
    );
    try {
      const answer = asked.hear('inherit');
      const [item] = answer.message.listeners;
      const [fd] = answer.incoming.take();
      if (item !== undefined && fd !== undefined) {
        asked.abandon();
        const known = { ...item, name: this.listeners.freeName(item.name) };
        this.listeners.inherited.takeOver([known], [fd]);
        return then(known, fd);
      }
      // Until it is closed no other thread is answered for this name, so all of it is done in this call.
      this.#asking = asked;
      return then(undefined, -1);
    } finally {
      this.#asking = undefined;
      asked.abandon();
    }
  }

  #follow(main: Channel): void {
    main.on('commit', () => this.#open());
    main.on('pause', () => {
      this.#departure?.stop();
      this.#departure = undefined;
      this.#pause();
      main.send({ type: 'paused' });
    });
    main.on('leave', ({ doors, drainTimeoutMs: timeoutMs, drainSpreadMs: spreadMs = 0 }) =>
      this.#depart(doors, { timeoutMs, spreadMs }),
    );
    main.on('confirm', () => {
      this.#release();
      this.#departure?.confirm();
    });
    main.on('retire', ({ timeoutMs, keepOpen, heirs = [] }) => this.#retire(timeoutMs, keepOpen, heirs));
    main.on('check-connection', ({ listener }, incoming) => this.#check(listener, incoming.take()));
    main.on('ask-state', ({ id, measure = false }) => main.send(this.#counts(id, measure)));
    main.on('end', () => {
      main.unref();
      this.#member?.end(this.#stopSignal);
    });
  }

  #open(): void {
    this.#departure?.stop();
    this.#departure = undefined;
    this.listeners.openGates();
    this.listeners.resume();
    this.#main.unref();
  }

  // What is paused keeps no thread alive, and it may have to accept again.
  #pause(): void {
    this.#main.ref();
    this.listeners.pause();
  }

  #release(): void {
    for (const listener of this.listeners.own()) this.listeners.release(listener, false);
  }

  #depart(doors: readonly string[], times: { timeoutMs: number; spreadMs: number }): void {
    const departure = this.#departureWith(times);
    departure.goTo(doors, this.#generation).then((settled) => {
      if (this.#departure === departure) this.#main.send({ type: 'settled', ...settled });
    });
  }

  #retire(timeoutMs: number, keepOpen: boolean | undefined, heirs: readonly string[]): void {
    this.#pause();
    const departure = this.#departureWith({ timeoutMs, spreadMs: 0 });
    this.#release();
    if (heirs.length > 0) departure.goTo(heirs, this.#generation);
    else departure.endHere(keepOpen === true);
    departure.confirm();
  }

  #departureWith(times: { timeoutMs: number; spreadMs: number }): ThreadDeparture {
    this.#departure?.stop();
    const departure = new ThreadDeparture(this, times, {
      isBeingFed: () => this.#feeds.size > 0,
      drained: (report) => {
        if (this.#departure === departure) this.#main.send({ type: 'drained', report });
      },
    });
    this.#departure = departure;
    return departure;
  }

  #visit = (channel: Channel, hello: Message<'hello'>): void => {
    if (hello.role !== 'neighbour') {
      throw new MoultError('MOULT_NOT_EXPECTED', `expected a generation of another slot, met ${hello.role}`);
    }
    this.#feeds.add(channel);
    const inflow = new Inflow(channel, this.connections, (name) => this.listeners.serverOf(name));
    channel.unref();
    inflow.over.then(() => {
      this.#feeds.delete(channel);
      this.#departure?.check();
    });
    this.#tested.then(() => channel.send({ type: 'takes', claims: movableClaims(this) }));
  };

  #bound(listener: Listener): void {
    const hold = { type: 'hold', listener: listener.item() } as const;
    if (this.#asking === undefined) this.#main.send(hold, [listener.fd]);
    else this.#asking.say(hold, [listener.fd]);
    this.#listens(listener);
  }

  #listens(listener: Listener): void {
    if (listener instanceof StreamListener) this.#serve(listener);
    this.#main.send({ type: 'listening', name: listener.identity.name, address: addressOf(listener) });
  }

  #serve(listener: StreamListener): void {
    const { server } = listener;
    this.#watch(server, listener);
    // A loop that stood still may find clients waiting before it reads that it is not to accept them.
    beforeAccepting(server, () => {
      const isShut = Atomics.load(this.#shut, 0) !== 0;
      if (isShut) this.#pause();
      return isShut;
    });
  }

  #watch(server: Server, listener: StreamListener): void {
    trackHttp2Sessions(server);
    watchTlsSockets(server);
    watchPipelining(server, listener);
    if (isPlainHttp(server) || isHttps(server)) countRequests(server, this.connections);
  }

  // The main thread has a copy for as long as another thread listens on it.
  #closed(name: string): void {
    this.listeners.inherited.withdraw(name);
    this.#main.send({ type: 'release', name });
  }

  // The process lives on, and with it whatever Node knows nothing of.
  #closeDescriptors(): void {
    this.#departure?.stop();
    for (const channel of this.#feeds) channel.close();
    this.#release();
    this.#main.close();
  }

  #check(name: string | null, [fd, ...surplus]: number[]): void {
    for (const one of surplus) closeDescriptor(one);
    if (fd === undefined) return;
    const server = name === null ? this.listeners.streams()[0]?.server : this.listeners.serverOf(name);
    if (server === undefined) closeDescriptor(fd);
    else giveToServer(server, socketOn(fd, server));
  }

  #counts(id: number, measure: boolean): Message<'counts'> {
    return {
      type: 'counts',
      id,
      connections: this.connections.size,
      inFlight: this.connections.servers().reduce((sum, server) => sum + requestsInFlight(server), 0),
      responses: this.#counter.responses,
      errors: this.#counter.errors,
      ...(measure ? { measures: this.#measuring.ask() } : {}),
    };
  }
}

function addressOf(listener: Listener): Record<string, unknown> {
  const address = listener.address();
  if (typeof address === 'object' && address !== null) return { ...address };
  return { path: listener.identity.path ?? address ?? listener.identity.name };
}
