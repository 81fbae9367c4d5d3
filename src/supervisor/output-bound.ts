import { fstatSync } from 'node:fs';
import { boundFile } from '../os/files/bounded-file.js';

const LOOK_MS = 1000;

/**
 * Keeps the file that is this process's standard output below so much: that of `moult up`, which may be gone while the
 * service writes on. Another kind of output is left alone.
 * @returns ends that.
 */
export function boundOutput(mostBytes: number): () => void {
  const look = () => {
    try {
      if (fstatSync(1).isFile()) boundFile(1, mostBytes);
    } catch {
      // What cannot be bounded goes on: the service is not concerned.
    }
  };
  const timer = setInterval(look, LOOK_MS).unref();
  return () => clearInterval(timer);
}
