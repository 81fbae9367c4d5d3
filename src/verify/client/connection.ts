import type { Socket } from 'node:net';
import type { FailureReason } from '../tally/failure.js';
import { type ParsedResponse, ResponseParser } from './response-parser.js';
import { dial, type Target, type TlsChoice } from './target.js';

/** How a connection ended, seen from the client. */
export interface ConnectionEnd {
  /** For `closed-before-response` nothing of a response had come: with nothing in flight that is a lost one. */
  readonly reason: FailureReason;
  readonly detail: string;
}

/** What a connection tells its owner. */
export interface ConnectionOwner {
  opened(): void;
  /** One whole response; they come in the order in which the server sent them. */
  responded(response: ParsedResponse): void;
  /** The connection ended and not by `close()`; called once, after the last response. */
  ended(end: ConnectionEnd): void;
}

/** What a connection needs to know. */
export interface ConnectionOptions {
  readonly target: Target;
  readonly tls?: TlsChoice | undefined;
  readonly head: boolean;
  readonly keepBody: boolean;
}

/** One client connection: an own socket and a strict parser; nothing is retried and nothing pooled. */
export class Connection {
  readonly dialledAtMs = performance.now();
  #openedAtMs: number | undefined;
  /** Whole responses read so far. */
  answered = 0;
  /** The port of this side, once it is established. */
  localPort: number | undefined;
  readonly #socket: Socket;
  readonly #parser: ResponseParser;
  readonly #owner: ConnectionOwner;
  #over = false;

  constructor(options: ConnectionOptions, owner: ConnectionOwner) {
    this.#owner = owner;
    this.#parser = new ResponseParser({
      head: options.head,
      keepBody: options.keepBody,
      onResponse: (response) => {
        this.answered += 1;
        owner.responded(response);
      },
    });
    this.#socket = dial(options.target, options.tls, () => {
      if (this.#over) return;
      this.#openedAtMs = performance.now();
      this.localPort = this.#socket.localPort;
      owner.opened();
    });
    this.#socket.on('data', (chunk: Buffer) => this.#read(chunk));
    this.#socket.on('end', () => this.#serverEnded());
    this.#socket.on('error', (error: NodeJS.ErrnoException) => this.#failed(error));
    this.#socket.on('close', () => this.#end({ reason: 'reset', detail: 'closed without an end' }));
  }

  /** Whether bytes can be sent. */
  get open(): boolean {
    return this.#openedAtMs !== undefined && !this.#over;
  }

  /** Milliseconds since the connection was established, 0 before. */
  get ageMs(): number {
    return this.#openedAtMs === undefined ? 0 : performance.now() - this.#openedAtMs;
  }

  write(data: string | Buffer): void {
    if (!this.#over) this.#socket.write(data);
  }

  /** Ends the connection from this side, without telling the owner. */
  close(): void {
    if (this.#over) return;
    this.#over = true;
    this.#parser.stop();
    if (this.#openedAtMs === undefined) this.#socket.destroy();
    else this.#socket.destroySoon();
  }

  #read(chunk: Buffer): void {
    if (this.#over) return;
    try {
      this.#parser.push(chunk);
    } catch (error) {
      this.#end({ reason: 'bad-response', detail: error instanceof Error ? error.message : String(error) });
    }
  }

  #serverEnded(): void {
    if (this.#over) return;
    if (this.#openedAtMs === undefined) {
      this.#end({ reason: 'connect-failed', detail: 'closed before the connection was ready' });
    } else if (this.#parser.finish()) {
      this.#end({ reason: 'closed-before-response', detail: '' });
    } else {
      this.#end({ reason: 'truncated', detail: 'the server ended the connection inside the response' });
    }
  }

  #failed(error: NodeJS.ErrnoException): void {
    this.#end({
      reason: reasonOf(error, this.#openedAtMs !== undefined),
      detail: error.code ?? error.message,
    });
  }

  #end(end: ConnectionEnd): void {
    if (this.#over) return;
    this.#over = true;
    this.#parser.stop();
    this.#socket.destroy();
    this.#owner.ended(end);
  }
}

function reasonOf(error: NodeJS.ErrnoException, opened: boolean): FailureReason {
  switch (error.code) {
    case 'ECONNREFUSED':
    case 'ENOENT':
      return 'refused';
    case 'ECONNRESET':
    case 'EPIPE':
      return 'reset';
    case 'ETIMEDOUT':
      return opened ? 'timeout' : 'connect-timeout';
    default:
      return opened ? 'reset' : 'connect-failed';
  }
}
