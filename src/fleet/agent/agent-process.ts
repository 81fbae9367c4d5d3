import { type ChildProcess, spawn } from 'node:child_process';
import { calledNode, calledScript } from '../../os/processes/invocation.js';
import { withoutNodeOptions } from '../../os/processes/node-options.js';
import { reap, signal } from '../../os/processes/process.js';
import { FLEET_VARIABLE } from '../settings.js';

const AGAIN_MS = 1000;
const MOST_AGAIN_MS = 60_000;
/** One that has run for so long had a good start. */
const GOOD_MS = 60_000;
/** How long an agent may take to say that its host leaves. */
const LEAVE_MS = 2000;
const REAP_MS = 200;
const sleeper = new Int32Array(new SharedArrayBuffer(4));

/** What is written to an agent to have it say that its host leaves; that nothing more can be written has it end without. */
export const LEAVE = 'leave\n';

/**
 * Keeps the agent of a service running, in a process beside its supervisor: nothing that happens to it, to its memory or to its
 * packages reaches the supervisor. It ends when the supervisor does, however that ends.
 */
export class AgentProcess {
  readonly #name: string;
  readonly #fleet: string;
  readonly #cwd: string;
  readonly #log: { warn(what: string): void };
  #child: ChildProcess | undefined;
  #isOver = false;
  #failures = 0;
  #again: NodeJS.Timeout | undefined;

  /** @param fleet what `--fleet` says: addresses, a path, or settings as JSON. */
  constructor(name: string, fleet: string, cwd: string, log: { warn(what: string): void }) {
    this.#name = name;
    this.#fleet = fleet;
    this.#cwd = cwd;
    this.#log = log;
  }

  /** Starts it, and again whenever it ends. */
  start(): void {
    if (this.#isOver) return;
    clearTimeout(this.#again);
    const beganMs = performance.now();
    try {
      const child = spawn(calledNode(), ['--', calledScript(), 'fleet', 'agent', this.#name], {
        cwd: this.#cwd,
        // Not among its arguments: those can be read by every user, and settings may hold a password.
        env: { ...withoutNodeOptions(process.env), [FLEET_VARIABLE]: this.#fleet },
        stdio: ['pipe', 'ignore', 'inherit'],
        detached: true,
      });
      this.#child = child;
      child.stdin?.on('error', () => {});
      child.once('error', (error) => this.#ended(child, beganMs, error.message));
      child.once('exit', (code, name) =>
        this.#ended(child, beganMs, code === null ? `${name}` : `status ${code}`),
      );
      child.unref();
      (child.stdin as { unref?(): void } | null)?.unref?.();
    } catch (error) {
      this.#ended(undefined, beganMs, String(error));
    }
  }

  /** The service has ended: the agent says so to the fleet, and ends. */
  async leave(): Promise<void> {
    this.#isOver = true;
    clearTimeout(this.#again);
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = new Promise((resolve) => child.once('exit', resolve).once('error', resolve));
    child.stdin?.end(LEAVE);
    const late = setTimeout(() => child.kill('SIGKILL'), LEAVE_MS);
    await exited;
    clearTimeout(late);
  }

  /**
   * Ends it within this call, and collects it: the program that is executed in place of this one does not know of it, and starts
   * its own.
   */
  endNow(): void {
    const pid = this.#child?.pid;
    this.#child?.removeAllListeners('exit');
    this.#child = undefined;
    if (pid === undefined) return;
    signal(pid, 'SIGKILL');
    for (let ms = 0; ms < REAP_MS && reap(pid) === 'living'; ms += 2) Atomics.wait(sleeper, 0, 0, 2);
  }

  /** @param child undefined where none could be started. */
  #ended(child: ChildProcess | undefined, beganMs: number, how: string): void {
    if (this.#isOver || child !== this.#child) return;
    this.#child = undefined;
    this.#failures = performance.now() - beganMs > GOOD_MS ? 0 : this.#failures + 1;
    const waitMs = Math.min(MOST_AGAIN_MS, AGAIN_MS * 2 ** Math.min(this.#failures, 6));
    this.#log.warn(`the fleet agent ended (${how}); it restarts in ${waitMs / 1000} s`);
    this.#again = setTimeout(() => this.start(), waitMs).unref();
  }
}
