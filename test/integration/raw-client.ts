import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { type ParsedResponse, ResponseParser } from '#moult/verify/client/response-parser.js';
import type { Target } from '#moult/verify/client/target.js';
import { until } from './supervised.js';

/** One connection on which a test writes byte for byte what it wants, and reads whole responses. */
export class RawClient {
  readonly socket: net.Socket;
  readonly responses: ParsedResponse[] = [];
  text = '';
  /** Why it ended, once it has: `end`, or the code of an error. */
  ending: string | undefined;
  #parser = new ResponseParser({ keepBody: true, onResponse: (response) => this.responses.push(response) });

  private constructor(socket: net.Socket) {
    this.socket = socket;
    socket.on('data', (chunk: Buffer) => {
      this.text += chunk.toString('latin1');
      this.#parser.push(chunk);
    });
    socket.on('end', () => {
      this.ending ??= 'end';
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      this.ending ??= error.code ?? error.message;
    });
  }

  /** Connects. @throws when nobody listens. */
  static async connect(target: Target): Promise<RawClient> {
    const socket =
      'socketPath' in target ? net.connect(target.socketPath) : net.connect(target.port, target.host);
    await once(socket, 'connect');
    return new RawClient(socket);
  }

  write(text: string): this {
    this.socket.write(text, 'latin1');
    return this;
  }

  /** Sends a request without a body and waits for its response. */
  async get(path: string, headers = ''): Promise<ParsedResponse> {
    const n = this.responses.length;
    this.write(`GET ${path} HTTP/1.1\r\nHost: test\r\n${headers}\r\n`);
    return this.response(n);
  }

  /** The response number n of this connection (from 0), when it is whole. */
  async response(n: number): Promise<ParsedResponse> {
    const found = await until(
      `response ${n + 1} has come`,
      () => this.responses[n] ?? (this.ending && 'ended'),
    ).catch((error: Error) => assert.fail(`${error.message}; so far came: ${JSON.stringify(this.text)}`));
    const response = this.responses[n];
    assert.ok(
      response,
      `the connection ended (${this.ending}) before response ${n + 1}: ${JSON.stringify(this.text)} ${found}`,
    );
    return response;
  }

  /** Waits until bytes like these have come. */
  async reads(pattern: RegExp): Promise<void> {
    await until(`${pattern} has come`, () => pattern.test(this.text) || this.ending);
    assert.match(this.text, pattern);
  }

  /** Waits until the server ends the connection. */
  async ends(boundMs?: number): Promise<string> {
    return until('the server ends the connection', () => this.ending ?? '', boundMs);
  }

  close(): void {
    this.socket.destroy();
  }
}

/** The JSON of a response. */
export function json(response: ParsedResponse): Record<string, unknown> {
  return JSON.parse(response.body.toString()) as Record<string, unknown>;
}

/** One request over a connection of its own; which process answered. */
export async function askOnce(target: Target): Promise<string> {
  const client = await RawClient.connect(target);
  try {
    return String(json(await client.get('/', 'Connection: close\r\n')).generation);
  } finally {
    client.close();
  }
}
