import { fstatSync, ftruncateSync } from 'node:fs';
import { libc } from '../libc.js';

/** Source: fallocate(2), FALLOC_FL_KEEP_SIZE and FALLOC_FL_PUNCH_HOLE. */
const KEEP_SIZE_PUNCH_HOLE = 3;
/** Source: stat(2), st_blocks. */
const BLOCK_BYTES = 512;

/**
 * Gives back the room that the first part of a file takes, when it takes more than so much: its last half stays, at the
 * place where it is, so that who writes at its end and who reads it need not know. Where the file system knows no holes it is emptied.
 * @returns whether it has.
 */
export function boundFile(fd: number, mostBytes: number): boolean {
  const { blocks, size } = fstatSync(fd);
  if (blocks * BLOCK_BYTES <= mostBytes) return false;
  const until = size - Math.floor(mostBytes / 2);
  if (until <= 0) return false;
  if (libc().fallocate(fd, KEEP_SIZE_PUNCH_HOLE, 0, until) !== 0) ftruncateSync(fd, 0);
  return true;
}
