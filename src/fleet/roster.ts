import { MAX_HOST_BYTES, MAX_VALUE_BYTES, MOST_CLAIMED } from './limits.js';
import { type AliveRecord, aliveSchema, type HostRecord, hostSchema, read, rollSchema } from './records.js';
import type { Roll } from './roll/roll.js';
import { namesIn, rollKey, token } from './store/keys.js';
import type { FleetStore } from './store/store.js';

/** What is known of one service on one host. */
export interface Member {
  readonly host: string;
  readonly service: string;
  /** Undefined where what it has written means nothing here. */
  readonly record: HostRecord | undefined;
  /** Undefined while it is silent. */
  readonly alive: AliveRecord | undefined;
  /** What is wrong with what it has written. */
  readonly trouble?: string;
}

/** Whether a member can be told something: its agent says how it is, and its supervisor answers. */
export function isHeard({ alive }: Member): boolean {
  return alive !== undefined && alive.state !== 'silent';
}

/** All members of a fleet, or of one service, that have not left; by service and host. */
export async function membersOf(store: FleetStore, service?: string): Promise<Member[]> {
  const pattern = `host.*.${service === undefined ? '*' : token(service)}`;
  const [kept, beats] = await Promise.all([store.main.all(pattern), store.alive.all(pattern)]);
  const alive = new Map(beats.map(({ key, bytes }) => [key, read(aliveSchema, bytes, MAX_HOST_BYTES)]));
  const members = kept.flatMap(({ key, bytes }): Member[] => {
    const [host = '', name = ''] = namesIn(key);
    const record = read(hostSchema, bytes, MAX_HOST_BYTES);
    const beat = alive.get(key);
    const known = beat !== undefined && 'value' in beat ? beat.value : undefined;
    if ('trouble' in record)
      return [{ host, service: name, record: undefined, alive: known, trouble: record.trouble }];
    if (record.value.hasLeft === true) return [];
    const trouble = beat !== undefined && 'trouble' in beat ? { trouble: beat.trouble } : {};
    return [{ host, service: name, record: record.value, alive: known, ...trouble }];
  });
  return members.sort((a, b) => order(a.service, b.service) || order(a.host, b.host));
}

/** A roll as it is in the bucket, or what is wrong with it. */
export type FoundRoll =
  | { readonly roll: Roll; readonly revision: number }
  | { readonly trouble: string; readonly revision: number };

/** The roll of a service that is under way, or was the last. */
export async function rollOf(store: FleetStore, service: string): Promise<FoundRoll | undefined> {
  const found = await store.main.get(rollKey(service));
  if (found === undefined) return undefined;
  const roll = read(rollSchema, found.bytes, MAX_VALUE_BYTES);
  return {
    ...('value' in roll ? { roll: roll.value } : { trouble: roll.trouble }),
    revision: found.revision,
  };
}

/** Rolls that have ended, oldest first; what means nothing is left out. */
export async function pastRolls(store: FleetStore, service?: string): Promise<Roll[]> {
  const pattern = service === undefined ? 'past.*.*' : `past.${token(service)}.*`;
  const all = await store.main.all(pattern);
  return all.flatMap(({ bytes }) => {
    const roll = read(rollSchema, bytes, MAX_VALUE_BYTES);
    return 'value' in roll ? [roll.value] : [];
  });
}

/** The number of the next roll, and the epoch that it begins with: none of them is below what anybody has heard of. */
export async function nextMarks(
  store: FleetStore,
  service: string,
  members: readonly Member[],
): Promise<{ readonly serial: number; readonly epoch: number }> {
  const found = await rollOf(store, service);
  const before = found !== undefined && 'roll' in found ? found.roll : { serial: 0, epoch: 0 };
  const past = await store.main.all(`past.${token(service)}.*`);
  const obeyed = members.flatMap(({ record }) => record?.obeyed ?? []);
  const claimed = (all: readonly number[]) => all.filter((one) => one < MOST_CLAIMED);
  const serials = [
    ...past.map(({ key }) => Number(namesIn(key)[1]) || 0),
    ...obeyed.map((one) => one.serial),
  ];
  return {
    serial: Math.max(before.serial, ...claimed(serials)) + 1,
    epoch: Math.max(before.epoch, ...claimed(obeyed.map((one) => one.epoch))),
  };
}

/** Removes what is known of a member that will not come back. @returns whether there was something. */
export async function forget(store: FleetStore, host: string, service: string): Promise<boolean> {
  const keys = [`host.${token(host)}.${token(service)}`, `order.${token(host)}.${token(service)}`];
  const there = await store.main.get(keys[0] ?? '');
  for (const key of keys) await store.main.remove(key);
  return there !== undefined;
}

function order(one: string, other: string): number {
  return one < other ? -1 : one > other ? 1 : 0;
}
