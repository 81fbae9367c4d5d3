/**
 * Consumers of NATS and JetStream for `@nats-io/transport-node` and `@nats-io/jetstream`, which the service
 * installs itself.
 * @module moult/nats
 */
export type { Handling } from './handling.js';
export { type JetStreamOptions, jetStream } from './jetstream.js';
export type { NatsMessage } from './nats-envelope.js';
export type { ConnectionSource } from './nats-link.js';
export { type NatsSubscriptionOptions, natsSubscription } from './nats-subscription.js';
export type { OnTrouble } from './trouble.js';
