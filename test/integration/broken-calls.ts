import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { root, type Supervised, type SupervisedOptions, withFolder, withService } from './supervised.js';

const PRELOAD = path.join(root, 'test/fixtures/faults/calls.mjs');

/** Which calls of a supervisor fail, as test/fixtures/faults/calls.mjs takes it. */
export interface BrokenCall {
  readonly call: string;
  readonly error: string;
  /** Only this one, counted from 1 (default: all). */
  readonly nth?: number;
}

/** Calls of the system that fail in one supervisor, while it is told so. */
export class BrokenCalls {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Of a service whose supervisor's calls these are. */
  options(options: SupervisedOptions): SupervisedOptions {
    const env = { ...options.env, FAULTS: this.#folder };
    const through = [...(options.through ?? []), 'env', `NODE_OPTIONS=--import=${PRELOAD}`];
    return { ...options, env, through };
  }

  /** They fail from now on. */
  begin(broken: BrokenCall): void {
    rmSync(path.join(this.#folder, 'calls.log'), { force: true });
    writeFileSync(path.join(this.#folder, 'next.json'), JSON.stringify(broken));
    renameSync(path.join(this.#folder, 'next.json'), path.join(this.#folder, 'calls.json'));
  }

  /** They go again. @returns how many have failed. */
  end(): number {
    rmSync(path.join(this.#folder, 'calls.json'), { force: true });
    return this.count;
  }

  /** How many have failed since they began to. */
  get count(): number {
    const log = path.join(this.#folder, 'calls.log');
    return existsSync(log) ? readFileSync(log, 'utf8').split('\n').length - 1 : 0;
  }
}

/** Runs a service under a supervisor whose calls can be broken. */
export async function withBrokenCalls(
  options: SupervisedOptions,
  test: (service: Supervised, calls: BrokenCalls) => Promise<void>,
): Promise<void> {
  await withFolder((folder) => {
    const calls = new BrokenCalls(folder);
    return withService(calls.options(options), (service) => test(service, calls));
  });
}
