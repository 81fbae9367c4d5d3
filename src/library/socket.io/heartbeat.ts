import { type Engine, type Session, withOptions } from './insides.js';

/** How long until the next ping is due, or until the answer to the last one is. */
export interface HeartbeatState {
  readonly awaits: 'ping' | 'pong';
  readonly leftMs: number;
}

/**
 * Knows when the heartbeat of a session is due: a session that began its interval anew with every restart would send
 * too few pings, and its client would give it up.
 */
export class Heartbeat {
  #session: Session;
  #engine: Engine;
  #state: HeartbeatState['awaits'];
  #dueAtMs: number;

  constructor(session: Session, engine: Engine, state?: HeartbeatState) {
    this.#session = session;
    this.#engine = engine;
    this.#state = state?.awaits ?? 'ping';
    this.#dueAtMs = performance.now() + (state?.leftMs ?? engine.opts.pingInterval);
    session.on('packetCreate', ({ type }: { type: string }) => {
      if (type === 'ping') this.#await('pong', engine.opts.pingTimeout);
    });
    // A client that sends is alive, and is given longer for its answer.
    session.on('packet', () => {
      if (this.#state === 'pong') this.#await('pong', engine.opts.pingTimeout);
    });
    session.on('heartbeat', () => this.#await('ping', engine.opts.pingInterval));
    if (state !== undefined) this.#goOn(state);
  }

  get state(): HeartbeatState {
    return { awaits: this.#state, leftMs: Math.max(0, this.#dueAtMs - performance.now()) };
  }

  #await(state: HeartbeatState['awaits'], ms: number): void {
    this.#state = state;
    this.#dueAtMs = performance.now() + ms;
  }

  // The session keeps its intervals by refreshing one timer, which began here with what was left of the first.
  #goOn({ awaits, leftMs }: HeartbeatState): void {
    const session = this.#session;
    clearTimeout(session.pingIntervalTimer ?? undefined);
    if (awaits === 'pong') {
      withOptions(this.#engine, { pingTimeout: leftMs }, () => session.resetPingTimeout());
    } else withOptions(this.#engine, { pingInterval: leftMs }, () => session.schedulePing());
    session.once('heartbeat', () => {
      clearTimeout(session.pingIntervalTimer ?? undefined);
      session.schedulePing();
    });
  }
}
