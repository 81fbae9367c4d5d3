import { readdirSync, readFileSync, statSync } from 'node:fs';
import type { FileIdentity } from '../files/append-file.js';

/** A process whose standard output or error is a certain file. */
export interface OutputHolder {
  readonly pid: number;
  /** As the kernel names it. */
  readonly name: string;
}

/** The processes whose standard output or error is this file, as far as this user may look. */
export function outputHolders({ dev, ino }: FileIdentity): OutputHolder[] {
  const isIt = (path: string) => {
    try {
      const found = statSync(path);
      return found.dev === dev && found.ino === ino;
    } catch {
      // It has ended, has closed it, or is another user's.
      return false;
    }
  };
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => isIt(`/proc/${pid}/fd/1`) || isIt(`/proc/${pid}/fd/2`))
    .map((pid) => ({ pid: Number(pid), name: nameOf(pid) }));
}

function nameOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trimEnd();
  } catch {
    return '';
  }
}
