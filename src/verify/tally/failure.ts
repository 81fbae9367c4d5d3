import type { ClientKind } from './client-kind.js';

/**
 * Why a request failed or a connection counts as lost.
 *
 * - `refused`: nobody listened; `connect-timeout`: no connection within the connect time-out;
 *   `connect-failed`: another failure of the connect, or of the TLS handshake;
 * - `reset`: the connection was reset;
 * - `closed-before-response`: the server ended the connection and no byte of the response had come;
 * - `truncated`: the server ended it in the middle of the response;
 * - `bad-response`: what came is not a well-formed response, or not the expected answer;
 * - `status-5xx`, `status-408`: the service says itself that it failed, or never got the whole request;
 * - `timeout`: no whole response in time;
 * - `wrong-id`: the answer to another request; `wrong-body`: the service read another body than was sent;
 * - `unasked-response`: an answer that no request waits for, such as one given twice;
 * - `closed-while-idle`: a permanent connection ended while nothing was in flight.
 */
export type FailureReason =
  | 'refused'
  | 'connect-timeout'
  | 'connect-failed'
  | 'reset'
  | 'closed-before-response'
  | 'truncated'
  | 'bad-response'
  | 'status-5xx'
  | 'status-408'
  | 'timeout'
  | 'wrong-id'
  | 'wrong-body'
  | 'unasked-response'
  | 'closed-while-idle';

/** One thing that went wrong, as the report lists it. */
export interface Failure {
  readonly kind: ClientKind;
  /** A request without its whole response, an idle connection closed, or an answer too many. */
  readonly what: 'failed' | 'lost' | 'duplicated';
  readonly reason: FailureReason;
  /** More words, possibly empty. */
  readonly detail: string;
  /** The request, empty for a lost connection. */
  readonly id: string;
  /** When, in milliseconds since the load began. */
  readonly atMs: number;
  /** How long the connection had been open then; 0 if it never was. */
  readonly connectionAgeMs: number;
  /** Requests that this connection had answered before. */
  readonly answeredBefore: number;
  /** The port of this side, by which a server knows the connection; absent if there never was one. */
  readonly localPort?: number;
}
