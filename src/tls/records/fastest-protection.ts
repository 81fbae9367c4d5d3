import { libcrypto } from '../../os/libcrypto.js';
import { EvpProtection } from './evp-protection.js';
import { NodeProtection } from './node-protection.js';
import type { RecordProtection } from './record-protection.js';

let fastest: RecordProtection | undefined;

/** The fastest way that this process has. */
export function fastestProtection(): RecordProtection {
  if (fastest === undefined) {
    const calls = libcrypto();
    fastest = calls === undefined ? new NodeProtection() : new EvpProtection(calls);
  }
  return fastest;
}
