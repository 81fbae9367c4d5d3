import type { FailureReason } from '../tally/failure.js';
import type { Tally } from '../tally/tally.js';
import { type AnswerCheck, checkAnswer, echoedId } from './answer.js';
import { Connection, type ConnectionEnd } from './connection.js';
import type { PreparedTemplate, RequestBody } from './request.js';
import type { ParsedResponse } from './response-parser.js';
import type { Target, TlsChoice } from './target.js';

/** What all virtual clients of one kind share. */
export interface ClientSettings {
  readonly target: Target;
  readonly tls: TlsChoice | undefined;
  readonly check: AnswerCheck;
  readonly template: PreparedTemplate;
  /** Mean think time; each is drawn evenly from 0 to twice this. */
  readonly thinkMs: number;
  readonly requestTimeoutMs: number;
  readonly connectTimeoutMs: number;
  /** Requests that a pipelining client may have in flight at once. */
  readonly maxPipelined: number;
  readonly tally: Tally;
  /** Milliseconds since the load began. */
  readonly nowMs: () => number;
}

/** One request that has been begun and has no whole response. */
export interface PendingRequest {
  readonly id: string;
  readonly body: RequestBody;
  readonly begunAtMs: number;
}

const REDIAL_PAUSE_MS = 30;

/**
 * One client: a connection, the requests in flight on it in order, and the strict accounting of both.
 * Each request ends exactly once, answered or failed, and none is sent a second time; a kind says when to
 * send what. At most one think timer and one connection exist at a time.
 */
export abstract class VirtualClient {
  protected readonly settings: ClientSettings;
  protected connection: Connection | undefined;
  protected readonly pending: PendingRequest[] = [];
  readonly #name: string;
  readonly #onIdle: () => void;
  /** Requests that got the answer of another; their own may still come and is no duplicate. */
  readonly #misordered = new Set<string>();
  #sequence = 0;
  #dials = 0;
  #timer: NodeJS.Timeout | undefined;
  #stopping = false;
  #over = false;

  /** `name` must be unique and without a dot; `onIdle` is called once, when a stopping client has ended. */
  constructor(name: string, settings: ClientSettings, onIdle: () => void) {
    this.#name = name;
    this.settings = settings;
    this.#onIdle = onIdle;
  }

  /** Called when the think time is over and a connection is open: begin one or more requests. */
  protected abstract act(connection: Connection): void;
  /** Called after each request that was answered: think, or end the connection. */
  protected abstract afterAnswer(): void;
  /** Whether the client may stop now; requests in flight are looked at elsewhere. */
  protected get busy(): boolean {
    return false;
  }
  /** Whether an end of the connection while nothing is in flight is a loss. */
  protected get permanent(): boolean {
    return true;
  }

  /** Begins after the given pause and a think time, so that clients do not march in step. */
  start(pauseMs: number): void {
    this.#schedule(pauseMs + Math.random() * 2 * this.settings.thinkMs);
  }

  /** Finishes what is in flight and begins nothing more. */
  stop(): void {
    this.#stopping = true;
    this.settleIfStopping();
  }

  /** Gives up what is still in flight: it counts as failed. */
  abandon(): void {
    this.#stopping = true;
    this.#failAll('timeout', 'unanswered when the load was stopped');
    this.#end();
  }

  /** Fails what has waited too long; called every now and then. */
  checkTimeouts(): void {
    const first = this.pending[0];
    const connection = this.connection;
    if (first === undefined) return;
    if (connection !== undefined && !connection.open) {
      if (performance.now() - connection.dialledAtMs < this.settings.connectTimeoutMs) return;
      this.#failAll('connect-timeout', `no connection in ${this.settings.connectTimeoutMs} ms`);
    } else {
      if (this.settings.nowMs() - first.begunAtMs < this.settings.requestTimeoutMs) return;
      this.#failAll('timeout', `no whole response in ${this.settings.requestTimeoutMs} ms`);
    }
    this.hangUp();
    this.#redialLater();
  }

  /** Waits a think time, then acts. */
  protected think(): void {
    this.#schedule(Math.random() * 2 * this.settings.thinkMs);
  }

  /** Registers a request; the caller writes it. */
  protected begin(body: RequestBody): PendingRequest {
    this.#sequence += 1;
    const request = { id: `${this.#name}.${this.#sequence}`, body, begunAtMs: this.settings.nowMs() };
    this.pending.push(request);
    return request;
  }

  /** Chooses the next body by turns. */
  protected nextBody(): RequestBody {
    const { bodies } = this.settings.template;
    const body = bodies[this.#sequence % bodies.length];
    if (body === undefined) throw new TypeError('bodies: expected at least one');
    return body;
  }

  /** Ends the connection from this side. */
  protected hangUp(): void {
    this.connection?.close();
    this.connection = undefined;
    this.#misordered.clear();
    this.connectionGone();
  }

  /** Ends the client if it is to stop and nothing is left to do; says whether it is to stop. */
  protected settleIfStopping(): boolean {
    if (!this.#stopping) return false;
    if (this.pending.length === 0 && !this.busy) this.#end();
    return true;
  }

  #end(): void {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#timer);
    this.hangUp();
    this.#onIdle();
  }

  #schedule(pauseMs: number): void {
    if (this.settleIfStopping()) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#turn(), pauseMs);
  }

  #redialLater(): void {
    this.#schedule(REDIAL_PAUSE_MS * (0.5 + Math.random()));
  }

  #turn(): void {
    if (this.settleIfStopping()) return;
    if (this.connection === undefined) this.#dial();
    else if (this.connection.open) this.act(this.connection);
  }

  #dial(): void {
    const { target, tls, check, template, tally } = this.settings;
    this.#dials += 1;
    if (this.permanent && this.#dials > 1) tally.redials += 1;
    // The request that makes the client connect waits with it: a refused connect is a failed request.
    const request = this.begin(this.nextBody());
    const connection: Connection = new Connection(
      { target, tls, head: template.method === 'HEAD', keepBody: check === 'echo' },
      {
        opened: () => this.writeFirst(connection, request),
        responded: (response) => this.#responded(response),
        ended: (end) => this.#ended(connection, end),
      },
    );
    this.connection = connection;
  }

  /** Writes the request for which the connection was opened. */
  protected abstract writeFirst(connection: Connection, request: PendingRequest): void;

  #responded(response: ParsedResponse): void {
    const { tally, check, nowMs } = this.settings;
    tally.sawStatus(response.status);
    const request = this.pending[0];
    if (request === undefined) {
      this.#wrong('duplicated', 'unasked-response', `status ${response.status}`, echoedId(response) ?? '');
      this.hangUp();
      this.#redialLater();
      return;
    }
    const answer = checkAnswer(check, response, request);
    const foreignId = answer.ok ? undefined : answer.foreignId;
    if (foreignId !== undefined && this.#isOver(foreignId) && !this.#misordered.delete(foreignId)) {
      // A second answer to an earlier request; the one in flight still waits for its own.
      this.#wrong('duplicated', 'unasked-response', 'answered a second time', foreignId);
      return;
    }
    this.pending.shift();
    if (foreignId !== undefined) this.#misordered.add(request.id);
    const atMs = nowMs();
    if (answer.ok) tally.answered(atMs, atMs - request.begunAtMs, answer.generation);
    else this.#wrong('failed', answer.reason, answer.detail, request.id);
    if (response.closes) this.#toldToClose();
    else if (!this.settleIfStopping()) this.afterAnswer();
  }

  #toldToClose(): void {
    if (this.permanent) this.settings.tally.toldToClose += 1;
    this.#failAll('closed-before-response', 'the response before said "Connection: close"');
    this.hangUp();
    if (!this.settleIfStopping()) this.think();
  }

  #ended(connection: Connection, end: ConnectionEnd): void {
    if (this.pending.length > 0) {
      this.#failAll(end.reason, end.detail);
    } else if (this.permanent) {
      const detail =
        end.reason === 'closed-before-response' ? 'the server ended it' : `${end.reason} ${end.detail}`;
      this.#wrong('lost', 'closed-while-idle', detail, '');
    }
    if (this.connection === connection) this.hangUp();
    this.#redialLater();
  }

  /** Called when the connection is gone, so that a kind can drop what it was still writing. */
  protected connectionGone(): void {}

  /** The first request has the given reason; those behind it on the same connection never had a chance. */
  #failAll(reason: FailureReason, detail: string): void {
    const first = this.pending.shift();
    if (first === undefined) return;
    this.#wrong('failed', reason, detail, first.id);
    const behind = reason === 'truncated' || reason === 'bad-response' ? 'closed-before-response' : reason;
    for (const request of this.pending.splice(0)) {
      this.#wrong('failed', behind, `in flight behind a request that failed: ${reason}`, request.id);
    }
  }

  #wrong(what: 'failed' | 'lost' | 'duplicated', reason: FailureReason, detail: string, id: string): void {
    const { localPort } = this.connection ?? {};
    this.settings.tally.wentWrong({
      what,
      reason,
      detail,
      id,
      atMs: this.settings.nowMs(),
      connectionAgeMs: Math.round(this.connection?.ageMs ?? 0),
      answeredBefore: this.connection?.answered ?? 0,
      ...(localPort === undefined ? {} : { localPort }),
    });
  }

  /** Whether an id is of a request of this client that is no longer in flight. */
  #isOver(id: string): boolean {
    const dot = id.lastIndexOf('.');
    if (id.slice(0, dot) !== this.#name) return false;
    const sequence = Number(id.slice(dot + 1));
    return (
      Number.isInteger(sequence) &&
      sequence >= 1 &&
      sequence <= this.#sequence &&
      !this.pending.some((request) => request.id === id)
    );
  }
}
