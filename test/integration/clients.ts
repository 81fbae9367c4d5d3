import { Agent, type ClientRequest, get } from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';
import { endsWithTest } from '../support/ends-with-test.js';
import { PACE } from '../support/pace.js';

/** Where a request goes. */
interface Where {
  readonly path: string;
  readonly port?: number;
  readonly socketPath?: string;
  /** Which connections it may use; without it a new one. */
  readonly agent?: Agent;
}

/** How clients ask. */
export interface ClientsOptions {
  /** How many (default: 4). */
  readonly clients?: number;
  /** Whether each keeps its connection for its next request (default: no). */
  readonly keepsAlive?: boolean;
  /** Between two requests of a client, in milliseconds (default: 2, times {@link PACE}). */
  readonly pauseMs?: number;
}

/** Clients that ask one request after the other and never try one again; by default over a new connection each time. */
export class Clients {
  answered = 0;
  /** What went wrong, each with its reason. */
  readonly failures: string[] = [];
  /** The bodies, each with when it came last, as performance.now() has it. */
  readonly bodies = new Map<string, number>();
  #isOver = false;
  readonly #loops: Promise<void>[];

  constructor(
    where: { readonly port: number } | { readonly socketPath: string },
    { clients = 4, keepsAlive = false, pauseMs = 2 * PACE }: ClientsOptions = {},
  ) {
    this.#loops = Array.from({ length: clients }, async () => {
      const agent = keepsAlive ? new Agent({ keepAlive: true, maxSockets: 1 }) : undefined;
      const each = { ...where, path: '/', ...(agent === undefined ? {} : { agent }) };
      while (!this.#isOver) {
        await this.#once(each);
        await pause(pauseMs);
      }
      agent?.destroy();
    });
    endsWithTest(() => this.stop());
  }

  /** No more is asked; settles when what was asked is over. */
  async stop(): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.#loops);
  }

  async #once(where: Where): Promise<void> {
    try {
      const body = await fetchOnce(where);
      this.answered += 1;
      this.bodies.set(body, performance.now());
    } catch (error) {
      this.failures.push(String(error));
    }
  }
}

/** One request; its body. Rejects unless the answer is whole and right. */
export function fetchOnce(where: Where): Promise<string> {
  return new Promise((resolve, reject) => {
    const how = { agent: false as const, timeout: 10_000, host: '127.0.0.1', ...where };
    const request: ClientRequest = get(how, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => {
        body += text;
      });
      response.on('error', reject);
      response.on('end', () =>
        response.complete && response.statusCode === 200
          ? resolve(body)
          : reject(new Error(`status ${response.statusCode}, complete: ${response.complete}`)),
      );
    });
    request.on('timeout', () => request.destroy(new Error('no answer within 10 s')));
    request.on('error', reject);
  });
}

/** The same: its body, or what went wrong. */
export function answerOrError(where: Where): Promise<string> {
  return fetchOnce(where).catch((error: Error) => error.message);
}
