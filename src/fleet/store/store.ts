import type { KvOptions } from '@nats-io/kv';
import type { NatsConnection } from '@nats-io/transport-node';
import { MoultError } from '../../errors.js';
import { MAX_HOST_BYTES, MAX_VALUE_BYTES } from '../limits.js';
import type { FleetSettings } from '../settings.js';
import { Bucket } from './bucket.js';
import { connectFleet, packages } from './connect.js';
import { aliveBucket, mainBucket } from './keys.js';

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
  { replicas }: FleetSettings,
  name: string,
  options: Partial<KvOptions>,
): Promise<Bucket> {
  const { Kvm, jetstream, jetstreamManager } = await packages();
  const kvm = new Kvm(jetstream(connection, { timeout: CALL_MS }));
  const streams = (await jetstreamManager(connection, { timeout: CALL_MS, checkAPI: false })).streams;
  const prefix = `$KV.${name}.`;
  const keysOf = async (pattern: string) => {
    const { state } = await streams.info(`KV_${name}`, { subjects_filter: `${prefix}${pattern}` });
    return Object.keys(state.subjects ?? {}).map((subject) => subject.slice(prefix.length));
  };
  try {
    const { streamInfo } = await (await kvm.open(name)).status();
    // Read by subject, so that what a host may read can be narrowed; a value that lags behind is found out by the next write.
    return new Bucket(
      await kvm.open(name, { allow_direct: streamInfo.config.allow_direct ?? false }),
      keysOf,
    );
  } catch (error) {
    if ((error as Error).name !== 'StreamNotFoundError') throw error;
  }
  const create = (copies: number) => kvm.create(name, { ...options, history: 1, replicas: copies });
  try {
    return new Bucket(await create(replicas ?? 3), keysOf);
  } catch (error) {
    if (replicas !== undefined || (error as { code?: unknown }).code !== NOT_CLUSTERED) throw error;
    return new Bucket(await create(1), keysOf);
  }
}
