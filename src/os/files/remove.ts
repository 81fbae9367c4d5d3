import { rmSync } from 'node:fs';

/** Removes a file or a folder, where that goes. @returns why it is still there. */
export function tryToRemove(path: string): Error | undefined {
  try {
    rmSync(path, { recursive: true, force: true });
    return undefined;
  } catch (error) {
    return error as Error;
  }
}
