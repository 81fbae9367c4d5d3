import { write } from 'node:fs';
import { Socket } from 'node:net';
import { closeDescriptor, duplicate } from '../../os/descriptors/descriptor.js';

/** How long an output that takes nothing just now is left before the next try. */
const AGAIN_MS = 10;

/**
 * Reads one of the pipes with which a process was started, because the supervisor that read it is gone, and writes what comes
 * to where the output goes now. What was opened as /dev/stdout, and processes that were started before the output was
 * exchanged, write there for as long as they live. Keeps no process alive.
 * @param end of the pipe; belongs to this function.
 * @param output the descriptor to which the output goes now; asked for each part.
 */
export function readOn(end: number, output: () => number): void {
  const from = new Socket({ fd: end, readable: true, writable: false });
  from.unref();
  from.on('error', () => {});
  from.on('data', (chunk: Buffer) => {
    from.pause();
    writeWhole(duplicate(output()), chunk, () => from.resume());
  });
}

function writeWhole(fd: number, bytes: Buffer, then: () => void): void {
  write(fd, bytes, (error, written) => {
    if (error?.code === 'EAGAIN') {
      setTimeout(() => writeWhole(fd, bytes, then), AGAIN_MS).unref();
      return;
    }
    // Where nobody reads any more it is dropped, not the service.
    if (error === null && written < bytes.length) {
      writeWhole(fd, bytes.subarray(written), then);
      return;
    }
    closeDescriptor(fd);
    then();
  });
}
