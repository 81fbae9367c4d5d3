import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';

/** A file that names the process that serves. It is replaced at once: a reader never finds it empty or cut short. */
export class PidFile {
  readonly #path: string;

  /** @param path relative to the working directory of now. */
  constructor(path: string) {
    this.#path = resolve(path);
  }

  /** Names this process. @throws as `fs.writeFileSync` does. */
  write(): void {
    const mine = `${this.#path}.${process.pid}`;
    writeFileSync(mine, `${process.pid}\n`);
    renameSync(mine, this.#path);
  }

  /** Removes it, unless it names another process by now. */
  remove(): void {
    try {
      if (readFileSync(this.#path, 'utf8').trim() === String(process.pid)) rmSync(this.#path);
    } catch {
      // It is gone.
    }
  }
}
