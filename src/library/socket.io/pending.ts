import { EventEmitter } from 'node:events';
import { catchesRejections } from '../ws/handlers.js';
import { type Client, CONNECT, CONNECT_ERROR, type SocketInsides } from './insides.js';

type Listener = (this: SocketInsides, ...args: unknown[]) => unknown;

/** Begins something that keeps a client here; what it returns ends it. */
type Begin = () => () => void;

/** An acknowledgement that nobody can send any more is not waited for. */
const forgotten = new FinalizationRegistry<() => void>((end) => end());

/**
 * Sees what is pending on a socket: events that the service's middlewares have, handlers that return a promise, and
 * acknowledgements that the client has asked for.
 */
export function watchEvents(socket: SocketInsides, begin: Begin, handled: () => void): void {
  // As Socket.IO does it, but that the handlers are called one by one to see what they return.
  socket.dispatch = (event) => {
    const end = begin();
    socket.run(event, (error) =>
      process.nextTick(() => {
        try {
          if (error) socket._onerror(error);
          else if (socket.connected) callEach(socket, event, begin);
        } finally {
          end();
          handled();
        }
      }),
    );
  };
  const own = socket.ack;
  socket.ack = (id) => {
    const end = begin();
    const send = own.call(socket, id);
    const ack = (...args: unknown[]) => {
      send(...args);
      end();
    };
    forgotten.register(ack, end);
    return ack;
  };
}

function callEach(socket: SocketInsides, event: [string, ...unknown[]], begin: Begin): void {
  if (catchesRejections(socket)) {
    EventEmitter.prototype.emit.apply(socket as unknown as EventEmitter, event);
    return;
  }
  const [name, ...args] = event;
  for (const listener of socket.rawListeners(name) as Listener[]) {
    const result = Reflect.apply(listener, socket, args);
    // A rejection stays unhandled, and is reported as the service is used to.
    if (result instanceof Promise) void result.finally(begin());
  }
}

/** The namespaces to which a client is being connected: middlewares and look-ups of the service may take a while. */
export class PendingConnects {
  readonly #names = new Set<string>();

  constructor(client: Client) {
    const { connect, _packet } = client;
    client.connect = (name, auth) => {
      this.begin(name);
      connect.call(client, name, auth);
    };
    client._packet = (packet, options) => {
      if (packet.type === CONNECT || packet.type === CONNECT_ERROR) this.end(packet.nsp ?? '/');
      _packet.call(client, packet, options);
    };
  }

  begin(name: string): void {
    this.#names.add(name);
  }

  end(name: string): void {
    this.#names.delete(name);
  }

  get isEmpty(): boolean {
    return this.#names.size === 0;
  }
}
