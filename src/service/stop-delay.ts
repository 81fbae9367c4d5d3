import type { Server } from 'node:net';
import { answerUnready } from '../connections/http1/unready-path.js';
import { defaultKeepAliveMs, keepAliveFor } from '../node/listening/keep-alive.js';
import type { Message, Settings } from '../protocol/messages.js';

/** Longer than balancers keep theirs by default, mostly. Source: the guides of the balancers named in docs/guide/balancers.md. */
const SHORT_MS = 10_000;

/** What a generation behind a balancer does: keeps idle connections longer than that, and is seen to be stopped before it is. */
export class StopDelay {
  readonly #settings: Settings;
  readonly #isFirst: boolean;
  #endUnready: (() => void) | undefined;
  #isLooked = false;

  /** @param isFirst whether it is the first generation of the service: what is to be said once, it says. */
  constructor(settings: Settings, isFirst: boolean) {
    this.#settings = settings;
    this.#isFirst = isFirst;
  }

  /** A server of the service is about to listen. */
  listens(server: Server): void {
    const { keepAliveMs, stopDelayMs } = this.#settings;
    if (keepAliveMs !== undefined) keepAliveFor(server, keepAliveMs);
    else if (stopDelayMs !== undefined && this.#isFirst && !this.#isLooked) {
      this.#isLooked = true;
      // Many set it behind their listen().
      setImmediate(() => warnOfShort(server));
    }
  }

  /** A stop was asked for. */
  begin({ unready }: Omit<Message<'stopping'>, 'type'>): void {
    if (unready === undefined) return;
    this.#endUnready?.();
    this.#endUnready = answerUnready(unready);
  }
}

function warnOfShort(server: Server): void {
  const ms = defaultKeepAliveMs(server);
  if (ms === undefined || ms > SHORT_MS) return;
  process.emitWarning(
    `the HTTP server closes idle connections after ${ms / 1000} s, Node's default: a balancer that keeps them longer sends requests to connections that are just being closed. Set server.keepAliveTimeout, or give moult run --keep-alive 65s (longer than the balancer's own)`,
    'MoultWarning',
  );
}
