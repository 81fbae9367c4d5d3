import { finished } from 'node:stream';
import MemoryPersistence from 'aedes-persistence/asyncPersistence.js';

/** What aedes keeps in memory, and a list of it. */
export class Persistence extends MemoryPersistence {
  /** Streams of retained messages that are on their way to a subscriber. */
  streams = 0;
  #ids = new Set();
  #incoming = new Map();

  async all() {
    const sessions = [];
    for (const id of this.#ids) {
      const [subscriptions, outgoing] = [await this.subscriptionsByClient({ id }), []];
      for await (const packet of this.outgoingStream({ id })) outgoing.push({ ...packet });
      sessions.push({ id, subscriptions, outgoing, incoming: [...(this.#incoming.get(id)?.values() ?? [])] });
    }
    const retained = [];
    for await (const packet of this.createRetainedStream('#')) retained.push({ ...packet });
    return { sessions, retained };
  }

  /** Takes what {@link all} gave, but for the subscriptions. */
  async fill({ sessions, retained }) {
    for (const { id, outgoing, incoming } of sessions) {
      for (const [n, packet] of outgoing.entries()) await this.#enqueue({ id }, packet, n);
      for (const packet of incoming) await this.incomingStorePacket({ id }, packet);
    }
    for (const packet of retained) await this.storeRetained(packet);
  }

  // A packet is queued first, gets its number then, and is replaced by its release at last.
  async #enqueue(client, packet, n) {
    const { cmd, messageId } = packet;
    const publish =
      cmd === 'pubrel' ? { topic: '', brokerId: 'moved', brokerCounter: n + 1, qos: 2 } : packet;
    await this.outgoingEnqueue({ clientId: client.id }, publish);
    if (messageId !== undefined) await this.outgoingUpdate(client, { ...publish, messageId });
    if (cmd === 'pubrel') await this.outgoingUpdate(client, packet);
    this.#ids.add(client.id);
  }

  async addSubscriptions(client, subscriptions) {
    if (subscriptions.length > 0) this.#ids.add(client.id);
    return super.addSubscriptions(client, subscriptions);
  }

  async incomingStorePacket(client, packet) {
    this.#ids.add(client.id);
    if (!this.#incoming.has(client.id)) this.#incoming.set(client.id, new Map());
    this.#incoming.get(client.id).set(packet.messageId, { ...packet });
    return super.incomingStorePacket(client, packet);
  }

  async incomingDelPacket(client, packet) {
    this.#incoming.get(client.id)?.delete(packet.messageId);
    return super.incomingDelPacket(client, packet);
  }

  async cleanIncoming(client) {
    this.#incoming.delete(client.id);
    return super.cleanIncoming(client);
  }

  createRetainedStreamCombi(patterns) {
    const stream = super.createRetainedStreamCombi(patterns);
    this.streams += 1;
    const { pipe } = stream;
    stream.pipe = (to) => {
      finished(to, { readable: false }, () => {
        this.streams -= 1;
      });
      return pipe.call(stream, to);
    };
    return stream;
  }
}
