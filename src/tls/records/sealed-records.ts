import { createHash } from 'node:crypto';
import { channel } from 'node:diagnostics_channel';
import type { TrafficKey } from '../keys/traffic-key.js';

/** Which record was sealed: a pair that comes twice, from whatever process, would be a nonce that was used twice. */
export interface SealedRecord {
  /** What stands for the key, and tells nothing of it. */
  readonly key: string;
  readonly sequence: number;
}

/** Tells its subscribers, of tests and proofs, of each record that moved connections seal: {@link SealedRecord}. */
const sealed = channel('moult.tls.sealed');
const names = new WeakMap<TrafficKey, string>();

/** Tells of the record that comes next. */
export function tellSealed(key: TrafficKey): void {
  if (!sealed.hasSubscribers) return;
  let name = names.get(key);
  if (name === undefined) {
    name = nameOfKey(key.secret);
    names.set(key, name);
  }
  sealed.publish({ key: name, sequence: key.sequence } satisfies SealedRecord);
}

/** What stands for a traffic secret in {@link SealedRecord}. */
export function nameOfKey(secret: Buffer): string {
  return createHash('sha256').update(secret).digest('hex').slice(0, 16);
}
