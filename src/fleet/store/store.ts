import type { KV, Kvm, KvOptions } from '@nats-io/kv';
import type { NatsConnection } from '@nats-io/transport-node';
import { MoultError } from '../../errors.js';
import { MAX_HOST_BYTES, MAX_VALUE_BYTES } from '../limits.js';
import type { FleetSettings } from '../settings.js';
import { Bucket } from './bucket.js';
import { connectFleet, packages } from './connect.js';
import { aliveBucket, mainBucket } from './keys.js';
import { watchBucket } from './watching.js';

/** What a host says of its health is forgotten after this time. */
export const ALIVE_MS = 20_000;
/** How long one call of the server may take. */
const CALL_MS = 5000;
/** Source: nats-server, errors.json, JSStreamReplicasNotSupportedErr. */
const NOT_CLUSTERED = 10_074;

/** The buckets of a fleet, over one connection. */
export class FleetStore {
  readonly connection: NatsConnection;
  readonly main: Bucket;
  readonly alive: Bucket;

  private constructor(connection: NatsConnection, main: Bucket, alive: Bucket) {
    this.connection = connection;
    this.main = main;
    this.alive = alive;
  }

  /**
   * Connects, and creates the buckets where they are not there yet and this user may.
   * @throws MOULT_FLEET_UNREACHABLE, MOULT_BAD_OPTION
   */
  static async open(settings: FleetSettings): Promise<FleetStore> {
    const connection = await connectFleet(settings);
    try {
      return await FleetStore.over(connection, settings);
    } catch (error) {
      await connection.close();
      throw error;
    }
  }

  /** The same over a connection that is there. @throws MOULT_FLEET_UNREACHABLE */
  static async over(connection: NatsConnection, settings: FleetSettings): Promise<FleetStore> {
    try {
      const main = { maxValueSize: MAX_VALUE_BYTES };
      const alive = { maxValueSize: MAX_HOST_BYTES, ttl: ALIVE_MS };
      return new FleetStore(
        connection,
        await openBucket(connection, settings, mainBucket(settings.name), main),
        await openBucket(connection, settings, aliveBucket(settings.name), alive),
      );
    } catch (error) {
      const what = `the buckets of fleet ${settings.name} could not be opened: ${(error as Error).message}`;
      throw new MoultError('MOULT_FLEET_UNREACHABLE', what, { cause: error });
    }
  }

  /** Lets go of the connection. */
  async close(): Promise<void> {
    await this.connection.close();
  }
}

async function openBucket(
  connection: NatsConnection,
  { replicas, inbox }: FleetSettings,
  name: string,
  options: Partial<KvOptions>,
): Promise<Bucket> {
  const { Kvm, jetstream, jetstreamManager } = await packages();
  const client = jetstream(connection, { timeout: CALL_MS });
  const manager = await jetstreamManager(connection, { timeout: CALL_MS, checkAPI: false });
  const kv = await openKv(new Kvm(client), name, options, replicas);
  const prefix = `$KV.${name}.`;
  return new Bucket({
    kv,
    keysOf: async (pattern) => {
      const { state } = await manager.streams.info(`KV_${name}`, { subjects_filter: `${prefix}${pattern}` });
      return Object.keys(state.subjects ?? {}).map((subject) => subject.slice(prefix.length));
    },
    // The servers compare what they have written by then: of several writes that are on their way in a cluster all pass, seen with
    // nats-server 2.9.10. Of those with one id they keep the first.
    replace: async (key, text, revision) => {
      const options = { msgID: `${key}@${revision}`, expect: { lastSubjectSequence: revision } };
      const { seq, duplicate } = await client.publish(`${prefix}${key}`, text, options);
      return duplicate ? undefined : seq;
    },
    watching: (watched) => watchBucket({ ...watched, connection, manager, bucket: name, inbox }),
  });
}

async function openKv(
  kvm: Kvm,
  name: string,
  options: Partial<KvOptions>,
  replicas: FleetSettings['replicas'],
): Promise<KV> {
  try {
    const { streamInfo } = await (await kvm.open(name)).status();
    // Read by subject, so that what a host may read can be narrowed; a value that lags behind is found out by the next write.
    return await kvm.open(name, { allow_direct: streamInfo.config.allow_direct ?? false });
  } catch (error) {
    if ((error as Error).name !== 'StreamNotFoundError') throw error;
  }
  const create = (copies: number) => kvm.create(name, { ...options, history: 1, replicas: copies });
  try {
    return await create(replicas ?? 3);
  } catch (error) {
    if (replicas !== undefined || (error as { code?: unknown }).code !== NOT_CLUSTERED) throw error;
    return create(1);
  }
}
