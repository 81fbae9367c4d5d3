export { type Handling, type JetStreamOptions, jetStream } from './jetstream.js';
export type { ConnectionSource } from './nats-link.js';
export { type NatsMessage, type NatsSubscriptionOptions, natsSubscription } from './nats-subscription.js';
export type { OnTrouble } from './trouble.js';
