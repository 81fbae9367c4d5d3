import type { Server, Socket } from 'node:net';
import { Server as TlsServer } from 'node:tls';
import { type Movable, movable } from '#moult/library/movable/movable.js';

/** What the service keeps of a connection. */
export interface LineState {
  count: number;
  rest: Buffer;
}

/** A service that answers each line with its own name, the number of the line on that connection, and the line. */
export class LineService {
  readonly states = new Map<Socket, LineState>();
  readonly events: string[] = [];
  readonly name: string;

  constructor(server: Server, name: string, more: Partial<Movable<LineState>> = {}) {
    this.name = name;
    server.on(server instanceof TlsServer ? 'secureConnection' : 'connection', (socket) =>
      this.setUp(socket, { count: 0, rest: Buffer.alloc(0) }),
    );
    movable<LineState>(server, {
      save: (socket) => this.stateOf(socket),
      restore: (socket, state) => this.setUp(socket, state),
      moved: (socket) => this.states.delete(socket),
      ...more,
    });
  }

  stateOf(socket: Socket): LineState {
    const state = this.states.get(socket);
    if (state === undefined) throw new Error('a connection that was never set up');
    return state;
  }

  setUp(socket: Socket, state: LineState): void {
    this.states.set(socket, state);
    socket.on('data', (chunk: Buffer) => {
      state.rest = Buffer.concat([state.rest, chunk]);
      for (let end = state.rest.indexOf(10); end >= 0; end = state.rest.indexOf(10)) {
        const line = state.rest.subarray(0, end).toString();
        state.rest = state.rest.subarray(end + 1);
        state.count += 1;
        this.answer(socket, `${this.name}:${state.count}:${line}\n`);
      }
    });
    for (const name of ['close', 'end', 'error'] as const) {
      socket.on(name, () => this.events.push(name));
    }
    socket.on('close', () => this.states.delete(socket));
  }

  answer(socket: Socket, text: string): void {
    socket.write(text);
  }
}
