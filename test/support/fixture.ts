import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { soon } from './events.js';
import type { Later } from './tidy.js';

const FIXTURES = fileURLToPath(new URL('../../../test/fixtures/', import.meta.url));

/** A running program of test/fixtures. It tells what it does as lines of JSON. */
export class Fixture {
  readonly process: ChildProcess;
  readonly exited: Promise<{ code: number | null; signal: string | null }>;
  errors = '';
  #lines: string[] = [];
  #waiting: ((line: string | undefined) => void)[] = [];
  #isOver = false;

  constructor(child: ChildProcess) {
    this.process = child;
    this.exited = new Promise((resolve) => {
      child.once('close', (code, signal) => {
        this.#isOver = true;
        for (const next of this.#waiting.splice(0)) next(undefined);
        resolve({ code, signal });
      });
    });
    child.stderr?.on('data', (chunk: Buffer) => {
      this.errors += chunk.toString();
    });
    if (child.stdout !== null) {
      createInterface({ input: child.stdout }).on('line', (line) => {
        const next = this.#waiting.shift();
        if (next === undefined) this.#lines.push(line);
        else next(line);
      });
    }
  }

  get pid(): number {
    return this.process.pid ?? -1;
  }

  /** The next line that it says. @throws when it ends without one. */
  async says<T = Record<string, unknown>>(): Promise<T> {
    const ready = this.#lines.shift();
    const line =
      ready ??
      (this.#isOver
        ? undefined
        : await soon(
            new Promise<string | undefined>((resolve) => this.#waiting.push(resolve)),
            'a word of a fixture',
          ));
    if (line === undefined) throw new Error(`the fixture ended and said nothing more\n${this.errors}`);
    return JSON.parse(line) as T;
  }

  /** Tells it to go on. */
  tell(word: string): void {
    this.process.stdin?.write(`${word}\n`);
  }

  async end(): Promise<void> {
    if (this.process.exitCode === null && this.process.signalCode === null) this.process.kill('SIGKILL');
    await this.exited;
  }
}

interface How extends SpawnOptions {
  /** The most descriptors that it may have open. */
  readonly maxDescriptors?: number;
  readonly execArgv?: readonly string[];
}

/** Starts a program of test/fixtures; it is ended after the test. */
export function fixture(later: Later, name: string, args: readonly string[] = [], how: How = {}): Fixture {
  const { maxDescriptors, execArgv = [], ...options } = how;
  const words = [process.execPath, ...execArgv, `${FIXTURES}${name}`, ...args];
  const limited =
    maxDescriptors === undefined
      ? words
      : ['/bin/sh', '-c', `ulimit -n ${maxDescriptors}; exec "$@"`, 'sh', ...words];
  const [command = '', ...rest] = limited;
  // A proof may have every process of a test load something: proofs/tls.mjs.
  const env = { ...process.env, NODE_OPTIONS: process.env.FIXTURE_NODE_OPTIONS ?? '' };
  delete (env as Record<string, string | undefined>).NODE_TEST_CONTEXT;
  const child = spawn(command, rest, { stdio: ['pipe', 'pipe', 'pipe'], env, ...options });
  const running = new Fixture(child);
  later(() => running.end());
  return running;
}
