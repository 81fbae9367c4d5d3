/**
 * Consumers of NATS and JetStream for `@nats-io/transport-node` and `@nats-io/jetstream`, which the service
 * installs itself.
 * @module moult/nats
 */

export type { OnError } from './consumer-errors.js';
export type { Handling } from './handling.js';
export { type JetStreamOptions, jetStream } from './nats/jetstream.js';
export type { NatsMessage } from './nats/nats-envelope.js';
export type { ConnectionSource } from './nats/nats-link.js';
export { type NatsSubscriptionOptions, natsSubscription } from './nats/nats-subscription.js';
