import type { FixedBytes } from '../../os/libcrypto.js';
import type { TrafficKey } from '../keys/traffic-key.js';

/** Encrypts and decrypts records where they lie. */
export interface RecordProtection {
  /** `libcrypto`: called directly; `node:crypto`: several times slower for small records. */
  readonly name: 'libcrypto' | 'node:crypto';
  /**
   * Seals the content that lies behind the room for a header.
   * @param type of the content, such as `HANDSHAKE`. @param at where the header goes. @param length of the content.
   * @returns where the record ends.
   */
  seal(key: TrafficKey, type: number, memory: FixedBytes, at: number, length: number): number;
  /**
   * Opens a whole record.
   * @param at where its header is. @param bodyBytes what the header says.
   * @returns how long content, type and padding are, right behind the header; -1 where the record is not what its sender sealed.
   */
  open(key: TrafficKey, memory: FixedBytes, at: number, bodyBytes: number): number;
  /** Leaves nothing of a key that will not be used again. */
  forget(key: TrafficKey): void;
}
