import type { Connection } from './connection.js';
import { requestHead } from './request.js';
import { type PendingRequest, VirtualClient } from './virtual-client.js';

/** A `kept-alive` client: one permanent connection, one request at a time. */
export class KeptAliveClient extends VirtualClient {
  protected override act(connection: Connection): void {
    this.writeFirst(connection, this.begin(this.nextBody()));
  }

  protected override afterAnswer(): void {
    this.think();
  }

  protected override writeFirst(connection: Connection, request: PendingRequest): void {
    const { template } = this.settings;
    connection.write(requestHead(template, request.id, request.body.data.length));
    if (request.body.data.length > 0) connection.write(request.body.data);
  }
}

/** A `new-connection` client: a connection for each request, which says `Connection: close`. */
export class NewConnectionClient extends KeptAliveClient {
  protected override get permanent(): boolean {
    return false;
  }

  protected override afterAnswer(): void {
    this.hangUp();
    this.think();
  }
}
