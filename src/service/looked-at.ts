import type { Line } from '../channel/line.js';
import { ThreadListener } from '../listeners/thread-listener.js';
import type { StreamHandle } from '../node/handle.js';
import { probedFrom } from '../node/listening/accepted.js';
import type { Message } from '../protocol/messages.js';

/** A supervisor that is gone in the middle of a look takes nothing back. */
const FORGET_MS = 60_000;

/** On what the service listens. */
export interface LookedListeners {
  sockets(): readonly { readonly state: string; readonly identity: { readonly name: string } }[];
  /** When it has closed others, by their names, in milliseconds since 1970. */
  readonly closedAt: Iterable<readonly [string, number]>;
}

/** The worker threads and other processes of the service that listen. */
export interface LookedThreads {
  processesOn(listener: string): number[];
}

/** What is held for the service, which has yet to listen there. */
export interface LateNames {
  /** Their names. */
  readonly late: readonly string[];
}

/**
 * Answers the supervisor, which looks from outside whether clients reach this generation: the connections that it
 * announces are told of and closed before the service sees them.
 */
export class LookedAt {
  readonly #listeners: LookedListeners;
  readonly #threads: (() => LookedThreads) | undefined;
  readonly #held: LateNames;
  readonly #from: (accepted: StreamHandle) => string | undefined;
  /** By the listener and what the connection comes from, the number of the look. */
  readonly #awaited = new Map<string, number>();
  /** How many connections came while one was awaited, by the listener. */
  readonly #accepted = new Map<string, number>();
  #line: Line | undefined;
  #forget: NodeJS.Timeout | undefined;

  /** @param from what a connection comes from, as far as this process can know. */
  constructor(
    listeners: LookedListeners,
    threads?: () => LookedThreads,
    held: LateNames = { late: [] },
    from = probedFrom,
  ) {
    this.#listeners = listeners;
    this.#threads = threads;
    this.#held = held;
    this.#from = from;
  }

  /** Answers on this line from now on. */
  heed(line: Line): void {
    this.#line = line;
    line.on('look', (look) => this.#expect(line, look));
  }

  /** Whether a connection was the supervisor's. It is closed then. */
  takes(accepted: StreamHandle, listener: string): boolean {
    if (this.#awaited.size === 0) return false;
    this.#accepted.set(listener, (this.#accepted.get(listener) ?? 0) + 1);
    const from = this.#from(accepted);
    const key = `${listener} ${from}`;
    const id = from === undefined ? undefined : this.#awaited.get(key);
    if (id === undefined) return false;
    this.#awaited.delete(key);
    accepted.close();
    this.#line?.send({ type: 'seen', id, listener });
    return true;
  }

  // No connection shows whether anybody receives datagrams: a process or thread that did may have ended, and none has come.
  #hasNobody(listener: ReturnType<LookedListeners['sockets']>[number]): boolean {
    if (!(listener instanceof ThreadListener) || listener.identity.family !== 'udp') return false;
    return this.#threads?.().processesOn(listener.identity.name).length === 0;
  }

  #expect(line: Line, { id, probes }: Message<'look'>): void {
    clearTimeout(this.#forget);
    for (const [key, other] of this.#awaited) if (other === id) this.#awaited.delete(key);
    for (const { listener, from } of probes) this.#awaited.set(`${listener} ${from}`, id);
    if (probes.length > 0) this.#forget = setTimeout(() => this.#awaited.clear(), FORGET_MS).unref();
    const all = this.#listeners.sockets().filter(({ state }) => state === 'open');
    const open = all.filter((one) => !this.#hasNobody(one));
    const { late } = this.#held;
    line.send({
      type: 'looking',
      id,
      listeners: open.map(({ identity }) => identity.name),
      closed: [...this.#listeners.closedAt].map(([name, at]) => ({ name, at })),
      ...(late.length === 0 ? {} : { late: [...late] }),
      accepted: open.flatMap(({ identity: { name } }) => {
        const connections = this.#accepted.get(name);
        return connections === undefined ? [] : [{ name, connections }];
      }),
      // Of those where nobody is left, too: their service has not closed them.
      processes: all.flatMap((one) => {
        const { name } = one.identity;
        const pids = one instanceof ThreadListener ? this.#threads?.().processesOn(name) : undefined;
        return pids === undefined ? [] : [{ name, pids }];
      }),
    });
  }
}
