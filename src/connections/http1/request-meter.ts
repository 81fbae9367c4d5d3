import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { classOf, noDurations } from '../../protocol/durations.js';

const STARTED = 'http.server.request.start';
const FINISHED = 'http.server.response.finish';

/**
 * Counts the HTTP/1.1 requests of this process, and how long each took from its head to the end of its response. Until it is
 * started it costs nothing.
 */
export class RequestMeter {
  requests = 0;
  /** Those that were answered with a status of 5xx. */
  errors = 0;
  durationSumMs = 0;
  readonly durations = noDurations();
  readonly #startedAtMs = new WeakMap<ServerResponse, number>();
  readonly #isClient: (socket: Socket) => boolean;
  readonly #onStarted = (message: unknown) => {
    const { response, socket } = message as { response: ServerResponse; socket: Socket };
    if (this.#isClient(socket)) this.#startedAtMs.set(response, performance.now());
  };
  readonly #onFinished = (message: unknown) => {
    const { response } = message as { response: ServerResponse };
    const startedAtMs = this.#startedAtMs.get(response);
    if (startedAtMs !== undefined) this.#count(performance.now() - startedAtMs, response.statusCode);
  };

  /** @param isClient whether a connection is one of the service's clients, and no check of moult's own. */
  constructor(isClient: (socket: Socket) => boolean) {
    this.#isClient = isClient;
  }

  start(): void {
    subscribe(STARTED, this.#onStarted);
    subscribe(FINISHED, this.#onFinished);
  }

  /** What it has counted stays. */
  stop(): void {
    unsubscribe(STARTED, this.#onStarted);
    unsubscribe(FINISHED, this.#onFinished);
  }

  #count(ms: number, status: number): void {
    this.requests += 1;
    if (status >= 500) this.errors += 1;
    this.durationSumMs += ms;
    const at = classOf(ms);
    this.durations[at] = (this.durations[at] ?? 0) + 1;
  }
}
