import type { JetStreamManager } from '@nats-io/jetstream';
import type { Msg, NatsConnection } from '@nats-io/transport-node';
import type { Watched } from './bucket.js';
import { packages } from './connect.js';

/** After so many heartbeats that did not come nobody sends any more. */
const MISSED = 2.5;
/** How long a consumer stays that nobody hears. */
const FORGOTTEN_MS = 30_000;
const AGAIN_MS = 1000;

/** A bucket that is watched, and over which connection. */
export interface Watching extends Watched {
  readonly connection: NatsConnection;
  readonly manager: JetStreamManager;
  readonly bucket: string;
  /** Before the subjects to which the servers send. */
  readonly inbox: string;
}

/**
 * Tells what is written, by a consumer of its own. The watch of `@nats-io/kv` hears nothing for 60 to 90 s where the server has died
 * on which its consumer was, while the connection to another one lives: seen with 3.4.0. This one begins anew after two heartbeats
 * that did not come, and where something was lost on the way.
 * @returns ends it.
 */
export async function watchBucket(watching: Watching): Promise<() => void> {
  const watch = new Watch(watching);
  await watch.begin();
  return () => watch.end();
}

class Watch {
  readonly #watching: Watching;
  #consumer: { readonly name: string; end(): void } | undefined;
  /** By this process's own clock. */
  #heardMs = performance.now();
  #isOver = false;
  #isBeginning = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(watching: Watching) {
    this.#watching = watching;
  }

  async begin(): Promise<void> {
    const { connection, heartbeatMs } = this.#watching;
    try {
      await this.#open();
    } catch (error) {
      this.#close();
      throw error;
    }
    this.#timer = setInterval(() => {
      if (connection.isClosed()) return this.end();
      if (performance.now() - this.#heardMs > MISSED * heartbeatMs) this.#anew();
    }, heartbeatMs / 2).unref();
  }

  end(): void {
    this.#isOver = true;
    clearInterval(this.#timer);
    this.#close();
  }

  async #open(): Promise<void> {
    const { connection, manager, bucket, inbox, pattern, withValues, heartbeatMs } = this.#watching;
    const { createInbox, nanos, nuid, AckPolicy, DeliverPolicy } = await packages();
    const [name, subject] = [`moult_${nuid.next()}`, createInbox(inbox)];
    let delivered = 0;
    const subscription = connection.subscribe(subject, {
      callback: (error, message) => {
        if (this.#consumer?.name !== name) return;
        this.#heardMs = performance.now();
        if (error !== null) return;
        if (message.headers?.code === 100) {
          if (!this.#answer(message, delivered)) this.#anew();
          return;
        }
        delivered += 1;
        const of = positionOf(message);
        if (of?.delivered !== delivered) this.#anew();
        else this.#tell(message, of.revision);
      },
    });
    const end = () => {
      subscription.unsubscribe();
      manager.consumers.delete(`KV_${bucket}`, name).catch(() => {});
    };
    this.#consumer = { name, end };
    this.#heardMs = performance.now();
    await manager.consumers.add(`KV_${bucket}`, {
      name,
      deliver_subject: subject,
      // What was written while nobody heard is told, too.
      deliver_policy: DeliverPolicy.LastPerSubject,
      ack_policy: AckPolicy.None,
      max_deliver: 1,
      filter_subject: `$KV.${bucket}.${pattern}`,
      flow_control: true,
      idle_heartbeat: nanos(heartbeatMs),
      inactive_threshold: nanos(FORGOTTEN_MS),
      num_replicas: 1,
      mem_storage: true,
      headers_only: !withValues,
    });
  }

  #close(): void {
    if (!this.#watching.connection.isClosed()) this.#consumer?.end();
    this.#consumer = undefined;
  }

  #anew(): void {
    if (this.#isOver || this.#isBeginning) return;
    this.#isBeginning = true;
    const open = async () => {
      this.#close();
      try {
        await this.#open();
      } catch {
        // The servers may be choosing a leader; the connection may be over.
        this.#heardMs = Number.NEGATIVE_INFINITY;
        await new Promise((resolve) => setTimeout(resolve, AGAIN_MS).unref());
      }
      if (this.#isOver) this.#close();
    };
    open().finally(() => {
      this.#isBeginning = false;
    });
  }

  /** A heartbeat, or the server's question whether to go on. @returns whether all came that it has sent. */
  #answer(message: Msg, delivered: number): boolean {
    if (message.reply) message.respond();
    const stalled = message.headers?.get('Nats-Consumer-Stalled') ?? '';
    if (stalled !== '') this.#watching.connection.publish(stalled);
    const sent = message.headers?.get('Nats-Last-Consumer') ?? '';
    return sent === '' || Number(sent) === delivered;
  }

  #tell(message: Msg, revision: number): void {
    const operation = message.headers?.get('KV-Operation') ?? '';
    if (operation !== '') return;
    const key = message.subject.slice(`$KV.${this.#watching.bucket}.`.length);
    this.#watching.told({ key, bytes: message.data, revision });
  }
}

/** Source: nats-server, `$JS.ACK.<stream>.<consumer>.<times>.<revision>.<delivered>.<time>.<pending>`, later after a domain and an account. */
function positionOf({ reply = '' }: Msg): { revision: number; delivered: number } | undefined {
  const parts = reply.split('.');
  const at = parts.length === 9 ? 5 : 7;
  const [revision, delivered] = [Number(parts[at]), Number(parts[at + 1])];
  return Number.isSafeInteger(revision) && Number.isSafeInteger(delivered)
    ? { revision, delivered }
    : undefined;
}
