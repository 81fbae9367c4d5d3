import { type FixedBytes, fixedBytes } from '../../os/libcrypto.js';
import { MAX_PLAINTEXT_BYTES } from '../state/tls-state.js';
import { OVERHEAD_BYTES } from './record.js';

/*
 * Memory for long data, used again and again: fresh memory for each megabyte costs as much as its encryption.
 */

/** How many full records are sealed at a time. */
const RECORDS = 8;
/** Room for a KeyUpdate among them. */
const SPARE_BYTES = 64;
/** How many are kept while nobody uses them. */
const KEPT = 4;

/** How many bytes are read at a time: where records are full, they are whole, too. */
export const INPUT_BYTES = RECORDS * (OVERHEAD_BYTES + MAX_PLAINTEXT_BYTES);
/** How many bytes are sealed at a time. */
export const SLAB_BYTES = INPUT_BYTES + SPARE_BYTES;

const free: FixedBytes[] = [];

/** Memory of {@link SLAB_BYTES} that nobody else uses until {@link giveSlab}. */
export function takeSlab(): FixedBytes {
  return free.pop() ?? fixedBytes(SLAB_BYTES);
}

/** Gives memory back that the kernel needs no more. */
export function giveSlab(slab: FixedBytes): void {
  if (free.length < KEPT) free.push(slab);
}
