import type { FixedBytes } from '../../os/libcrypto.js';
import type { TrafficKey } from '../keys/traffic-key.js';

/** Encrypts records where they lie, and decrypts them there or to another place. */
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
   * @param into where content, type and padding go, at `intoAt`: right behind the header, or into other memory.
   * @returns how long they are; -1 where the record is not what its sender sealed.
   */
  open(
    key: TrafficKey,
    memory: FixedBytes,
    at: number,
    bodyBytes: number,
    into: FixedBytes,
    intoAt: number,
  ): number;
  /** Leaves nothing of a key that will not be used again. */
  forget(key: TrafficKey): void;
}
