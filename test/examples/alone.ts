import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { processesWith, until } from '../integration/supervised.js';

/** An example that runs without a supervisor, in all its generations. */
export class Alone {
  output = '';
  readonly #first: ChildProcess;
  readonly #folder: string;

  /** @param folder its working directory, for its sockets, and to know its processes by. */
  constructor(script: string, folder: string, env: Readonly<Record<string, string>>) {
    this.#folder = folder;
    const all: NodeJS.ProcessEnv = { ...process.env, ...env, XDG_RUNTIME_DIR: folder };
    for (const name of ['NODE_OPTIONS', 'NODE_TEST_CONTEXT']) delete all[name];
    this.#first = spawn(process.execPath, [script], {
      cwd: folder,
      env: all,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [this.#first.stdout, this.#first.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.output += text;
      });
    }
  }

  /** Waits until this generation serves; its process. */
  serves(generation: number): Promise<number> {
    const says = new RegExp(`generation ${generation} serves, process (\\d+)`);
    return until(`generation ${generation} serves`, () => Number(says.exec(this.output)?.[1])).catch(
      (error: Error) => assert.fail(`${error.message}\n${this.output}`),
    );
  }

  /** Waits until of all its processes only these live. */
  async areLeft(...pids: number[]): Promise<void> {
    const left = () => processesWith(`XDG_RUNTIME_DIR=${this.#folder}`).map(({ pid }) => pid);
    await until(`${pids} are left`, () => left().every((pid) => pids.includes(pid))).catch((error: Error) =>
      assert.fail(`${error.message}, found ${left()}\n${this.output}`),
    );
  }

  /** Ends what is left by force. */
  async kill(): Promise<void> {
    for (const { pid } of processesWith(`XDG_RUNTIME_DIR=${this.#folder}`)) process.kill(pid, 'SIGKILL');
    await this.areLeft();
  }
}
