import type { NatsConnection } from '@nats-io/transport-node';

/** A function that connects, or a connection that the service keeps and closes itself. */
export type ConnectionSource = NatsConnection | (() => NatsConnection | Promise<NatsConnection>);

/** A connection that is opened when it is first needed, and closed only by who opened it. */
export class NatsLink {
  readonly #source: ConnectionSource;
  #own: NatsConnection | undefined;
  #isOver = false;

  constructor(source: ConnectionSource) {
    this.#source = source;
  }

  async open(): Promise<NatsConnection> {
    if (typeof this.#source !== 'function') return this.#source;
    if (this.#own?.isClosed() !== false) this.#own = await this.#source();
    // It came too late for whoever wanted it.
    if (this.#isOver) await this.close();
    return this.#own as NatsConnection;
  }

  /**
   * Sends what is buffered and closes. Where the server is away that would wait for it: what cannot be sent
   * within a while never will.
   */
  async close(withinMs = 1000): Promise<void> {
    const connection = this.#own;
    this.#isOver = true;
    if (connection === undefined || connection.isClosed()) return;
    const timer = setTimeout(() => void connection.close(), withinMs);
    try {
      await Promise.race([connection.drain(), connection.closed()]);
    } catch {
      await connection.close();
    } finally {
      clearTimeout(timer);
    }
  }
}
