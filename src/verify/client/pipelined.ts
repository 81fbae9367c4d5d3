import type { Connection } from './connection.js';
import { requestHead } from './request.js';
import { type PendingRequest, VirtualClient } from './virtual-client.js';

/** A `pipelined` client: one permanent connection on which several requests are in flight at once. */
export class PipelinedClient extends VirtualClient {
  #refillBelow = 0;
  #thinking = false;

  protected override act(connection: Connection): void {
    this.#thinking = false;
    const depth = 1 + Math.floor(Math.random() * this.settings.maxPipelined);
    const requests: Buffer[] = [];
    while (this.pending.length < depth) requests.push(this.#bytes(this.begin(this.nextBody())));
    const data = Buffer.concat(requests);
    // Now and then a request is cut between two writes, as a full send buffer would do it.
    const cut = Math.random() < 0.2 ? Math.floor(Math.random() * data.length) : 0;
    if (cut > 0) connection.write(data.subarray(0, cut));
    if (data.length > 0) connection.write(data.subarray(cut));
    this.#refillBelow = Math.floor(Math.random() * depth);
    if (this.pending.length <= this.#refillBelow) this.#refillSoon();
  }

  protected override afterAnswer(): void {
    if (this.pending.length <= this.#refillBelow) this.#refillSoon();
  }

  protected override writeFirst(connection: Connection, request: PendingRequest): void {
    connection.write(this.#bytes(request));
    this.#refillBelow = 0;
  }

  protected override connectionGone(): void {
    this.#thinking = false;
  }

  #refillSoon(): void {
    if (this.#thinking) return;
    this.#thinking = true;
    this.think();
  }

  #bytes(request: PendingRequest): Buffer {
    const { data } = request.body;
    return Buffer.concat([Buffer.from(requestHead(this.settings.template, request.id, data.length)), data]);
  }
}
