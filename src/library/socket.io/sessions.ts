/*
 * Over 300 lines: saving and restoring what Socket.IO has of a client are mirror images, to be read side by side.
 */
import type { WebSocket } from 'ws';
import { begin, isBusy, look, type MoverPhase } from '../../connections/moving/movers.js';
import { headOf, type RequestHead } from '../../node/http/request.js';
import { refuseLate } from '../movable/late-use.js';
import { socketOf } from '../ws/insides.js';
import { Heartbeat, type HeartbeatState } from './heartbeat.js';
import {
  type Client,
  CONNECT,
  closeSession,
  type Engine,
  type EnginePacket,
  type EngineRequest,
  type Joined,
  type NamespaceInsides,
  namespaceOf,
  openSession,
  type ServerInsides,
  type Session,
  type SocketInsides,
} from './insides.js';
import { PendingConnects, watchEvents } from './pending.js';

/** What goes along with a client. */
export interface SavedSession {
  readonly id: string;
  readonly upgraded: boolean;
  readonly remoteAddress: string | undefined;
  /** Of the request that opened the session, where it is not that of the WebSocket. */
  readonly head: RequestHead | undefined;
  readonly query: Record<string, string>;
  readonly heartbeat: HeartbeatState;
  /** What was sent since it was held. */
  readonly packets: readonly EnginePacket[];
  readonly sockets: readonly SavedSocket[];
}

interface SavedSocket {
  readonly namespace: string;
  readonly id: string;
  readonly pid: string | undefined;
  readonly rooms: readonly string[];
  readonly data: unknown;
  /** Without `headers` where they are those of the request. */
  readonly handshake: Record<string, unknown>;
  /** Ids of packets that ask for an acknowledgement begin here: a late answer to an earlier one is no answer. */
  readonly nextAckId: number;
  /** What the service has saved. */
  readonly own: unknown;
}

/** How often a session of long-polling that is to end is looked at again, and how long it may be without a request. */
const POLLING_LOOK_MS = 20;
const POLLING_PAUSE_MS = 400;

interface Known {
  readonly session: Session;
  readonly heartbeat: Heartbeat;
  client?: Client;
  connects?: PendingConnects;
}

interface Entered {
  readonly client: Client;
  readonly joined: Joined;
}

/** The clients of one Socket.IO server, as far as they speak over WebSockets. */
export class Sessions {
  readonly #io: ServerInsides;
  readonly #byWebSocket = new WeakMap<WebSocket, Known>();
  readonly #bySession = new WeakMap<Session, Known>();
  /** Requests of sessions on their way in. */
  readonly #arriving = new WeakMap<EngineRequest, SavedSession>();
  /** Takes a client that is being connected to a namespace again, in place of the namespace. */
  readonly #entering = new WeakMap<Session, (entered: Entered) => void>();

  #endsPolling = false;

  constructor(io: ServerInsides) {
    this.#io = io;
    for (const namespace of io._nsps.values()) this.#watchNamespace(namespace);
    io.on('new_namespace', (namespace) => this.#watchNamespace(namespace));
  }

  /** Knows the clients of this engine from now on. */
  use(engine: Engine): void {
    // Before Socket.IO's own listener, which makes the client.
    engine.prependListener('connection', (session: Session) => this.#opened(session, engine));
  }

  /**
   * Ends the sessions of long-polling: the next request of each goes to the successor, which does not know it. What a
   * client was about to send or is upgrading is waited for.
   */
  endPolling(engine: Engine): void {
    this.#endsPolling = true;
    for (const session of Object.values(engine.clients)) this.#endPolling(session);
  }

  keepPolling(): void {
    this.#endsPolling = false;
  }

  /** Where a client stands, as {@link Mover.phase} tells it. */
  phase(ws: WebSocket, mayMove: (socket: SocketInsides) => boolean): MoverPhase {
    const known = this.#byWebSocket.get(ws);
    // Its session is being opened, or is an older one that may be upgraded to this WebSocket.
    if (known === undefined) return 'receiving';
    const { session, client, connects } = known;
    if (session.protocol !== 4) throw new TypeError('a client of version 2 of Socket.IO');
    if (connects?.isEmpty === false || isBusy(session)) return 'busy';
    if (session.readyState !== 'open' || client === undefined || client.sockets.size === 0)
      return 'receiving';
    // Half of a message with binary parts; and what only the client can answer.
    if (client.decoder.reconstructor) return 'receiving';
    const isAtRest = [...client.sockets.values()].every(
      (socket) => socket.acks.size === 0 && mayMove(socket),
    );
    return isAtRest ? 'ready' : 'receiving';
  }

  /** Keeps back what is sent to a client. */
  hold(ws: WebSocket): void {
    const session = this.#byWebSocket.get(ws)?.session;
    if (session !== undefined) session.flush = () => {};
  }

  /** Sends on, what was kept back first. */
  release(ws: WebSocket): void {
    const session = this.#byWebSocket.get(ws)?.session;
    if (session === undefined) return;
    Reflect.deleteProperty(session, 'flush');
    session.flush();
  }

  /** Whether something was kept back. */
  hasHeld(ws: WebSocket): boolean {
    return (this.#byWebSocket.get(ws)?.session.writeBuffer.length ?? 0) > 0;
  }

  isClosing(ws: WebSocket): boolean {
    return this.#byWebSocket.get(ws)?.session.readyState !== 'open';
  }

  socketsOf(ws: WebSocket): SocketInsides[] {
    return [...(this.#byWebSocket.get(ws)?.client?.sockets.values() ?? [])];
  }

  /** @param own gives what the service saves for a socket. */
  save(ws: WebSocket, own: (socket: SocketInsides) => unknown): SavedSession {
    const known = this.#byWebSocket.get(ws);
    if (known === undefined) throw new TypeError('a WebSocket of no client');
    const { session, heartbeat } = known;
    const { id, upgraded, remoteAddress, request } = session;
    return {
      id,
      upgraded,
      remoteAddress,
      head: upgraded ? headOf(request) : undefined,
      query: { ...request._query },
      heartbeat: heartbeat.state,
      packets: session.writeBuffer.map(({ type, data, options }) => ({
        type,
        options: { compress: options?.compress !== false },
        ...(data === undefined ? {} : { data }),
      })),
      sockets: this.socketsOf(ws).map((socket) => savedSocket(socket, own(socket))),
    };
  }

  /** A client has left: its objects here fall silent. */
  left(ws: WebSocket, engine: Engine): void {
    const known = this.#byWebSocket.get(ws);
    if (known === undefined) return;
    const { session, client } = known;
    for (const socket of this.socketsOf(ws)) {
      socket._cleanup();
      socket.connected = false;
    }
    this.#byWebSocket.delete(ws);
    closeSession(engine, session);
    session.sendPacket = refuseLate('send()');
    if (client === undefined) return;
    client.destroy();
    client._packet = refuseLate('emit()');
    client.writeToEngine = refuseLate('emit()');
  }

  /**
   * Opens a session that was saved elsewhere, with its namespaces and rooms, and sends what was kept back there.
   * @param setUp has the service set up a socket, with what it saved.
   */
  async restore(
    ws: WebSocket,
    saved: SavedSession,
    request: EngineRequest,
    engine: Engine,
    setUp: (socket: SocketInsides, own: unknown) => void | Promise<void>,
  ): Promise<void> {
    request._query = saved.query;
    this.#arriving.set(request, saved);
    const session = await openSession(engine, saved.id, request, ws);
    session.upgraded = saved.upgraded;
    session.remoteAddress = saved.remoteAddress;
    session.writeBuffer.push(...saved.packets);
    session.flush();
    // All of them are in their rooms before the service is told of the first.
    const sockets: SocketInsides[] = [];
    for (const one of saved.sockets) sockets.push(await this.#join(session, one));
    for (const [i, socket] of sockets.entries()) {
      if (socket.connected) await setUp(socket, saved.sockets[i]?.own);
    }
  }

  #endPolling(session: Session, waitedMs = 0): void {
    const { transport, readyState, upgrading } = session;
    if (!this.#endsPolling || transport.name !== 'polling' || readyState !== 'open') return;
    const isPausing = !transport.writable && waitedMs < POLLING_PAUSE_MS;
    if (upgrading || transport.dataReq || isPausing)
      this.#endPollingLater(session, waitedMs + POLLING_LOOK_MS);
    // Without a request that waits nobody can be told; the client learns it from the successor.
    else session.close(!transport.writable);
  }

  #endPollingLater(session: Session, waitedMs = 0): void {
    setTimeout(() => this.#endPolling(session, waitedMs), POLLING_LOOK_MS).unref();
  }

  #opened(session: Session, engine: Engine): void {
    if (this.#endsPolling) this.#endPollingLater(session);
    const heartbeat = new Heartbeat(session, engine, this.#arriving.get(session.request)?.heartbeat);
    const known: Known = { session, heartbeat };
    this.#bySession.set(session, known);
    const speaksOver = (ws: WebSocket | undefined) => {
      if (ws !== undefined) this.#byWebSocket.set(ws, known);
    };
    if (session.transport.name === 'websocket') speaksOver(session.transport.socket);
    else session.once('upgrade', (transport: Session['transport']) => speaksOver(transport.socket));
  }

  #watchNamespace(namespace: NamespaceInsides): void {
    const own = namespace._add;
    namespace._add = (client, auth, joined) => {
      const connects = this.#meet(client);
      const enter = this.#entering.get(client.conn);
      if (enter !== undefined) {
        connects?.end(namespace.name);
        enter({ client, joined });
        return undefined;
      }
      connects?.begin(namespace.name);
      return own.call(namespace, client, auth, (socket) => {
        joined(socket);
        // Versions before 4.6 do not say which.
        if (socket !== undefined) watch(socket);
      });
    };
  }

  #meet(client: Client): PendingConnects | undefined {
    const known = this.#bySession.get(client.conn);
    if (known === undefined) return undefined;
    known.client = client;
    known.connects ??= new PendingConnects(client);
    return known.connects;
  }

  async #join(session: Session, saved: SavedSocket): Promise<SocketInsides> {
    const namespace = await namespaceOf(this.#io, saved.namespace);
    const { client, joined } = this.#enter(session, namespace);
    const socket = await namespace._createSocket(client, {});
    if (session.readyState !== 'open') throw new TypeError('the client has gone');
    const { id, pid, data } = saved;
    const handshake = { headers: session.request.headers, ...saved.handshake };
    Object.assign(socket, { id, data, handshake, recovered: true, ...(pid === undefined ? {} : { pid }) });
    namespace._ids = Math.max(namespace._ids, saved.nextAckId);
    namespace.sockets.set(id, socket);
    // That it is connected its client was told long ago.
    socket.packet = () => {};
    socket._onconnect();
    Reflect.deleteProperty(socket, 'packet');
    const inRooms = socket.join([...saved.rooms]);
    joined(socket);
    watch(socket);
    await inRooms;
    return socket;
  }

  // As if the client asked for it: only so does Socket.IO tell of its object for the client.
  #enter(session: Session, { name }: NamespaceInsides): Entered {
    let entered: Entered | undefined;
    this.#entering.set(session, (one) => {
      entered = one;
    });
    const packet = { type: CONNECT, nsp: name, data: {} };
    for (const part of this.#io.encoder.encode(packet)) session.emit('data', part);
    this.#entering.delete(session);
    if (entered === undefined) throw new TypeError('Socket.IO did not take the client');
    return entered;
  }
}

/** Something is pending for the client of a session. */
export function beginFor(session: Session): () => void {
  return begin(session, () => {
    const ws = session.transport.socket;
    return ws === undefined ? undefined : socketOf(ws);
  });
}

function watch(socket: SocketInsides): void {
  const { conn } = socket.client;
  watchEvents(
    socket,
    () => beginFor(conn),
    () => {
      const over = conn.transport.socket === undefined ? undefined : socketOf(conn.transport.socket);
      if (over !== undefined) look(over);
    },
  );
}

function savedSocket(socket: SocketInsides, own: unknown): SavedSocket {
  const { nsp, id, pid, rooms, data, handshake, client } = socket;
  const { headers, ...rest } = handshake;
  const isOfRequest = headers === client.conn.request.headers;
  return {
    namespace: nsp.name,
    id,
    pid,
    rooms: [...rooms],
    data,
    handshake: isOfRequest ? rest : { headers, ...rest },
    nextAckId: nsp._ids,
    own,
  };
}
