import { Readable } from 'node:stream';
import type { IPublishPacket, IStore } from 'mqtt';

type DoneCallback = Parameters<IStore['put']>[1];
type PacketCallback = Parameters<IStore['get']>[1];
type Packet = Parameters<IStore['put']>[0];

/**
 * What the client asks between the packets of QoS 2. The client would keep a message here from PUBREC on and
 * give it out at PUBREL: with the process it would be lost, since the server does not send it again. Here it
 * is handled before PUBREC, and what is kept is its identifier: method B of figure 4.3 of MQTT 3.1.1.
 */
export class HandledMessages implements IStore {
  readonly #handle: (packet: IPublishPacket) => Promise<void>;
  readonly #identifiers: Set<number>;

  /** @param handle does not settle when the message must not be acknowledged. */
  constructor(identifiers: readonly number[], handle: (packet: IPublishPacket) => Promise<void>) {
    this.#identifiers = new Set(identifiers);
    this.#handle = handle;
  }

  /** Of messages that the server will release, and that have been handled. */
  get identifiers(): number[] {
    return [...this.#identifiers];
  }

  /** The server has begun a session of its own: its identifiers mean other messages. */
  forget(): void {
    this.#identifiers.clear();
  }

  put(packet: Packet, done: DoneCallback): this {
    const identifier = packet.messageId as number;
    if (this.#identifiers.has(identifier)) {
      done();
      return this;
    }
    void this.#handle(packet as IPublishPacket).then(() => {
      this.#identifiers.add(identifier);
      done();
    });
    return this;
  }

  /** The client does not find the message, and completes its exchange with the server. */
  get({ messageId }: Pick<Packet, 'messageId'>, done: PacketCallback): this {
    if (!this.#identifiers.has(messageId as number)) {
      done(new Error('no such message'));
      return this;
    }
    done(undefined, new Released(messageId as number) as unknown as Packet);
    return this;
  }

  del({ messageId }: Pick<Packet, 'messageId'>, done: PacketCallback): this {
    this.#identifiers.delete(messageId as number);
    done();
    return this;
  }

  createStream(): ReturnType<IStore['createStream']> {
    return Readable.from([]) as unknown as ReturnType<IStore['createStream']>;
  }

  close(done: DoneCallback): void {
    done();
  }
}

/** Stands for a message that was handled before it was released. */
export class Released {
  readonly cmd = 'publish';
  readonly qos = 2;
  readonly dup = false;
  readonly retain = false;
  readonly topic = '';
  readonly payload = '';
  readonly messageId: number;

  constructor(messageId: number) {
    this.messageId = messageId;
  }
}
