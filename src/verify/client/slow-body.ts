import type { Connection } from './connection.js';
import { chunkOf, requestHead } from './request.js';
import { type PendingRequest, VirtualClient } from './virtual-client.js';

/** The longest pause between two pieces, in milliseconds. */
const MAX_PIECE_PAUSE_MS = 12;

/**
 * A `slow-body` client: one permanent connection, each request in several pieces with pauses between; the
 * length is told and chunked by turns, and every fourth head is cut at an odd place.
 */
export class SlowBodyClient extends VirtualClient {
  #turn = 0;
  #pieces: Buffer[] = [];
  #timer: NodeJS.Timeout | undefined;

  protected override get busy(): boolean {
    return this.#pieces.length > 0;
  }

  protected override act(connection: Connection): void {
    this.writeFirst(connection, this.begin(this.nextBody()));
  }

  protected override writeFirst(connection: Connection, request: PendingRequest): void {
    this.#turn += 1;
    const { data } = request.body;
    const chunked = this.#turn % 2 === 0;
    const head = Buffer.from(
      requestHead(this.settings.template, request.id, chunked ? 'chunked' : data.length),
      'latin1',
    );
    const cut = this.#turn % 4 === 0 ? 1 + Math.floor(Math.random() * (head.length - 1)) : head.length;
    const pieces = data.length === 0 ? [] : cutRandomly(data, 1 + Math.floor(Math.random() * 4));
    const body = chunked && data.length > 0 ? [...pieces.map(chunkOf), chunkOf(Buffer.alloc(0))] : pieces;
    this.#pieces = [head.subarray(0, cut), head.subarray(cut), ...body].filter((piece) => piece.length > 0);
    this.#writeNext(connection);
  }

  // An answer that comes early does not end the request: the rest of the body must be written before the next.
  protected override afterAnswer(): void {
    if (!this.busy) this.think();
  }

  protected override connectionGone(): void {
    clearTimeout(this.#timer);
    this.#pieces = [];
  }

  #writeNext(connection: Connection): void {
    const piece = this.#pieces.shift();
    if (piece !== undefined) connection.write(piece);
    if (this.#pieces.length > 0) {
      this.#timer = setTimeout(() => this.#writeNext(connection), Math.random() * MAX_PIECE_PAUSE_MS);
    } else if (this.pending.length === 0 && !this.settleIfStopping()) {
      this.think();
    }
  }
}

function cutRandomly(data: Buffer, count: number): Buffer[] {
  const cuts = Array.from({ length: count - 1 }, () => Math.floor(Math.random() * data.length));
  const places = [0, ...cuts.sort((a, b) => a - b), data.length];
  return places
    .slice(1)
    .map((end, index) => data.subarray(places[index] ?? 0, end))
    .filter((piece) => piece.length > 0);
}
