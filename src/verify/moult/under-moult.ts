import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { Target } from '../client/target.js';
import {
  type MoultCommandOptions,
  ownCliPath,
  restart,
  rollback,
  type Status,
  scale,
  status,
  stop,
} from './moult-command.js';
import type { RestartOutcome, ServiceUnderTest } from './service-under-test.js';
import { VerifyError } from './verify-error.js';

/** What to start under moult, and how. */
export interface UnderMoultOptions {
  /** A script of Node, or a command with its arguments. */
  readonly command: readonly string[];
  /** More options of `moult run`, such as `["--ready-timeout", "5s"]` (default: none). */
  readonly runOptions?: readonly string[];
  readonly cwd?: string;
  /** Variables to add to the environment of this process. */
  readonly env?: Readonly<Record<string, string>>;
  /** Time until it must serve, in milliseconds (default: 60,000). */
  readonly startTimeoutMs?: number;
  /** Time for a graceful stop, in milliseconds (default: 40,000); after it the supervisor is killed. */
  readonly stopTimeoutMs?: number;
  /** Gets the output of supervisor and service (default: only the last of it is kept, for errors). */
  readonly onOutput?: (text: string) => void;
  /** The script of the command line (default: this package's own). */
  readonly cliPath?: string;
  /** Calls the start off. */
  readonly signal?: AbortSignal;
  /** Ends the service at once, whatever it has in hand; `stop` is to be called all the same. */
  readonly force?: AbortSignal;
}

/** A service that was started for a verification. */
export interface StartedService extends ServiceUnderTest {
  readonly name: string;
  /** Undoes the last restart, or goes back to the release before. */
  rollback(): ReturnType<typeof rollback>;
  /** Changes how many slots it has. */
  scale(slots: number): ReturnType<typeof scale>;
}

const STATUS_POLL_MS = 100;
const LAST_OUTPUT_MS = 500;
const KEPT_OUTPUT_CHARACTERS = 4_000;

/**
 * Starts a service under a supervisor of its own, in a run folder of its own, so that it never meets services
 * of the user. Throws VerifyError MOULT_VERIFY_NOT_SERVING (with the last output) or
 * MOULT_VERIFY_NO_LISTENER, or MOULT_VERIFY_INTERRUPTED by the signal; nothing is left running then.
 */
export async function startUnderMoult(options: UnderMoultOptions): Promise<StartedService> {
  // mkdtemp makes the folder 0700. Source: mkdtemp(3).
  const runFolder = await mkdtemp(path.join(os.tmpdir(), 'moult-verify-'));
  const name = `verify-${randomBytes(3).toString('hex')}`;
  const env = { ...process.env, ...options.env, XDG_RUNTIME_DIR: runFolder };
  const command: MoultCommandOptions = { cliPath: options.cliPath ?? ownCliPath(), env };
  const supervisor = new SupervisorProcess(name, command, options);
  const cleanUp = async () => {
    await supervisor.stop(options.stopTimeoutMs ?? 40_000);
    await rm(runFolder, { recursive: true, force: true });
  };
  try {
    const target = targetOf(await supervisor.serving(options.startTimeoutMs ?? 60_000, options.signal));
    return {
      name,
      target,
      restart: () => restart(name, command),
      connectionsBySlot: () => connectionsBySlot(name, command),
      rollback: () => rollback(name, command),
      scale: (slots) => scale(name, slots, command),
      stop: cleanUp,
    };
  } catch (error) {
    await cleanUp();
    throw error;
  }
}

/** A service that runs under moult already; it is restarted but never stopped. */
export function runningService(options: {
  readonly target: Target;
  /** Default: the only one that runs. */
  readonly name?: string | undefined;
  readonly cliPath?: string;
}): ServiceUnderTest {
  const command: MoultCommandOptions = { cliPath: options.cliPath ?? ownCliPath() };
  return {
    target: options.target,
    restart: (): Promise<RestartOutcome> => restart(options.name, command),
    connectionsBySlot: () => connectionsBySlot(options.name, command),
    stop: async () => {},
  };
}

async function connectionsBySlot(
  name: string | undefined,
  command: MoultCommandOptions,
): Promise<number[] | undefined> {
  const now = await status(name, command);
  if (now?.slots === undefined) return undefined;
  const serving = new Map<number, number>();
  for (const { slot, connections, state } of now.generations) {
    // Of two generations of a slot one serves; what the other still has is not the slot's share.
    if (slot !== undefined && connections !== undefined && state === 'serving')
      serving.set(slot, connections);
  }
  return [...serving.values()];
}

class SupervisorProcess {
  readonly #name: string;
  readonly #command: MoultCommandOptions;
  readonly #process: ChildProcess;
  readonly #ended: Promise<string>;
  readonly #closed: Promise<void>;
  #output = '';
  #over = false;
  // The second one means at once.
  readonly #endAtOnce = () => {
    this.#process.kill('SIGTERM');
    this.#process.kill('SIGINT');
  };

  constructor(name: string, command: MoultCommandOptions, options: UnderMoultOptions) {
    this.#name = name;
    this.#command = command;
    const args = ['run', '--name', name, ...(options.runOptions ?? []), '--', ...options.command];
    this.#process = spawn(process.execPath, [command.cliPath ?? ownCliPath(), ...args], {
      env: command.env,
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      stdio: ['ignore', 'pipe', 'pipe'],
      // Ctrl-C must reach the verification, which then stops the service after the load.
      detached: true,
    });
    const take = (text: string) => {
      this.#output = (this.#output + text).slice(-KEPT_OUTPUT_CHARACTERS);
      options.onOutput?.(text);
    };
    this.#process.stdout?.setEncoding('utf8').on('data', take);
    this.#process.stderr?.setEncoding('utf8').on('data', take);
    this.#ended = new Promise((resolve) => {
      this.#process.once('error', (error) => resolve(error.message));
      this.#process.once('exit', (code, signal) => resolve(signal ?? `exit code ${code}`));
    });
    this.#closed = new Promise((resolve) => this.#process.once('close', () => resolve()));
    void this.#ended.then(() => {
      this.#over = true;
      process.off('exit', this.#endAtOnce);
    });
    process.once('exit', this.#endAtOnce);
    options.force?.addEventListener('abort', this.#endAtOnce, { once: true });
  }

  /** Waits until the service serves; gives its status. */
  async serving(timeoutMs: number, signal?: AbortSignal): Promise<Status> {
    const giveUpAtMs = performance.now() + timeoutMs;
    while (performance.now() < giveUpAtMs) {
      // Its last words may still be in the pipe; a process that it left behind may hold that open for ever.
      if (this.#over) await this.#within(LAST_OUTPUT_MS, this.#closed);
      if (this.#over) throw this.#notServing(`moult run ended (${await this.#ended})`);
      if (signal?.aborted === true)
        throw new VerifyError('MOULT_VERIFY_INTERRUPTED', 'interrupted before the service served');
      const now = await status(this.#name, this.#command);
      if (now?.state === 'serving') return now;
      await Promise.race([pause(STATUS_POLL_MS), this.#ended]);
    }
    throw this.#notServing(`the service did not serve within ${timeoutMs} ms`);
  }

  /** Stops it gracefully, then by force; resolves when the process is gone. */
  async stop(timeoutMs: number): Promise<void> {
    if (this.#over) return;
    const stopped = await this.#within(timeoutMs, stop(this.#name, this.#command));
    if (stopped !== true) this.#process.kill('SIGTERM');
    if ((await this.#within(timeoutMs, this.#ended)) === undefined) {
      this.#process.kill('SIGKILL');
      await this.#ended;
    }
  }

  async #within<T>(timeoutMs: number, promise: Promise<T>): Promise<T | undefined> {
    const over = new AbortController();
    const late = pause(timeoutMs, undefined, { signal: over.signal }).catch(() => undefined);
    try {
      return await Promise.race([promise, late]);
    } finally {
      over.abort();
    }
  }

  #notServing(what: string): VerifyError {
    const output = this.#output.trimEnd();
    const shown = output === '' ? 'It wrote nothing.' : `Its last output:\n${output}`;
    return new VerifyError('MOULT_VERIFY_NOT_SERVING', `${what}. ${shown}`);
  }
}

function targetOf(found: Status): Target {
  const generation = found.generations.find((one) => one.state === 'serving') ?? found.generations.at(-1);
  const addresses = (generation?.listeners ?? []).map((listener) => listener.address);
  for (const address of addresses) {
    if (address !== null && address !== undefined && 'port' in address && address.transport !== 'udp') {
      return { host: reachable(address.address), port: address.port };
    }
  }
  for (const address of addresses) {
    if (address !== null && address !== undefined && 'path' in address) return { socketPath: address.path };
  }
  throw new VerifyError(
    'MOULT_VERIFY_NO_LISTENER',
    'the service serves, but listens on no TCP port or Unix socket',
  );
}

// A wildcard address is no destination; "::" takes IPv4 too, unless someone asked for ipv6Only.
function reachable(address: string): string {
  return address === '0.0.0.0' || address === '::' ? '127.0.0.1' : address;
}
