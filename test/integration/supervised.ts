import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { mkdtemp, rename, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { ask } from '#moult/cli/services/control.js';
import { type ErrorReport, MoultError } from '#moult/errors.js';
import type { RestartSummary } from '#moult/lifecycle/restart-record.js';
import { RunFolder } from '#moult/supervisor/journal/run-folder.js';
import type { ServiceStatus } from '#moult/supervisor/status.js';
import type { Target } from '#moult/verify/client/target.js';
import type { RestartOutcome, ServiceUnderTest } from '#moult/verify/moult/service-under-test.js';

/** The folder of the package. */
export const root = fileURLToPath(new URL('../../..', import.meta.url));
/** The script of the command line; MOULT_TEST_CLI names that of another build, to see which tests are red with it. */
export const cli = process.env.MOULT_TEST_CLI ?? path.join(root, 'dist/cli/main.js');
/** The longest that anything in these tests may take, in milliseconds. */
const BOUND_MS = 30_000;

/** The path of one of the services in test/fixtures/services. */
export function fixture(name: string): string {
  return path.join(root, 'test/fixtures/services', name);
}

/**
 * Polls until a condition holds; its value. Fails with `what` when it does not within the bound. It asks less often the
 * longer that takes: a question costs the supervisor, which is to get on with it, as much time as the test.
 */
export async function until<T>(
  what: string,
  condition: () => T | Promise<T>,
  boundMs = BOUND_MS,
): Promise<NonNullable<Exclude<T, false>>> {
  const beganMs = performance.now();
  for (;;) {
    const value = await condition();
    if (value) return value as NonNullable<Exclude<T, false>>;
    const waitedMs = performance.now() - beganMs;
    if (waitedMs > boundMs) assert.fail(`waited ${boundMs} ms until ${what}`);
    await pause(Math.min(50, 10 + waitedMs / 20));
  }
}

/** The restart that flags of `moult restart` ask for; undefined for those that only the command reads. */
function restartAsked(flags: readonly string[]): Parameters<typeof ask>[1] | undefined {
  const known = ['--wait', '--wait=confirmed', '--wait=drained', 'confirmed', 'drained', '--force'];
  if (!flags.every((flag) => known.includes(flag))) return undefined;
  const waitsFor = (what: string) => flags.includes(what) || flags.includes(`--wait=${what}`);
  return {
    type: 'restart',
    wait: true,
    whenQuiet: null,
    ifBusy: 'wait',
    allowFewerListeners: false,
    untilConfirmed: waitsFor('confirmed'),
    untilDrained: waitsFor('drained'),
    ...(flags.includes('--force') ? { force: true } : {}),
  };
}

/** How a service is to be started under moult. */
export interface SupervisedOptions {
  readonly command: readonly string[];
  readonly runOptions?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** The Node binary that runs supervisor and service (default: this one). */
  readonly node?: string;
  /** The script of a moult that is installed elsewhere (default: the one that was built here). */
  readonly cli?: string;
  /** Flags of Node for the supervisor itself, which does not heed what NODE_OPTIONS loads (default: none). */
  readonly nodeFlags?: readonly string[];
  /** NODE_OPTIONS in the environment of `moult run` (default: none). */
  readonly nodeOptions?: string;
  /** Whether to wait until it serves (default: yes). */
  readonly waits?: boolean;
  /** The folder for its sockets (default: one of its own). */
  readonly runtimeFolder?: string;
  /** Its name; null leaves the name to moult (default: "service"). */
  readonly name?: string | null;
  /** A command that starts it, such as unshare, with its arguments (default: none). */
  readonly through?: readonly string[];
  /** As whom it runs (default: as this process). */
  readonly user?: { readonly uid: number; readonly gid: number };
}

interface LogLine {
  readonly time: number;
  readonly msg: string;
}

// Beside one that serves it is a predecessor that may still have to; alone, one that is not known to be reached yet.
function accepting(generations: ServiceStatus['generations']): ServiceStatus['generations'] {
  const found = generations.filter(({ state }) =>
    ['serving', 'expecting', 'inheriting', 'ready'].includes(state),
  );
  return found.length > 0 ? found : generations.filter(({ state }) => state === 'verifying');
}

/** One `moult run` with a run folder of its own. Everything below it carries a mark, by which what is left is found. */
export class Supervised {
  readonly process: ChildProcess;
  readonly runtimeFolder: string;
  readonly mark: string;
  readonly name: string;
  /** Settles with the exit status of `moult run`. */
  readonly ended: Promise<number | string>;
  /** What the service wrote to both outputs, and moult's own log, as it came. */
  output = '';
  stdout = '';
  stderr = '';
  readonly #env: NodeJS.ProcessEnv;
  readonly #node: string;
  readonly #logLines: LogLine[] = [];
  /** How much of stderr has been read into them. */
  #readTo = 0;

  private constructor(options: SupervisedOptions, runtimeFolder: string) {
    this.runtimeFolder = runtimeFolder;
    this.mark = `MOULT_TEST_MARK=${randomBytes(6).toString('hex')}`;
    this.name = options.name ?? 'service';
    const [key = '', value = ''] = this.mark.split('=');
    this.#env = {
      ...process.env,
      NO_COLOR: '1',
      ...options.env,
      [key]: value,
      XDG_RUNTIME_DIR: runtimeFolder,
    };
    // Those of the test runner are not the service's.
    delete this.#env.NODE_OPTIONS;
    delete this.#env.NODE_TEST_CONTEXT;
    if (options.cwd !== undefined) this.#env.PWD = options.cwd;
    this.#node = options.node ?? process.execPath;
    const named = options.name === null ? [] : ['--name', this.name];
    const args = ['run', ...named, ...(options.runOptions ?? []), '--', ...options.command];
    const nodeOptions = options.nodeOptions === undefined ? {} : { NODE_OPTIONS: options.nodeOptions };
    const program = [this.#node, ...(options.nodeFlags ?? []), options.cli ?? cli];
    const [command = '', ...words] = [...(options.through ?? []), ...program, ...args];
    this.process = spawn(command, words, {
      env: { ...this.#env, ...nodeOptions },
      ...options.user,
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.process.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.stdout += text;
      this.output += text;
    });
    this.process.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
      this.output += text;
    });
    this.ended = new Promise((resolve) => {
      this.process.once('close', (code, signal) => resolve(code ?? signal ?? 'unknown'));
    });
  }

  /** Starts it and waits until it serves. */
  static async start(options: SupervisedOptions): Promise<Supervised> {
    const runtimeFolder = options.runtimeFolder ?? (await mkdtemp(path.join(tmpdir(), 'moult-it-')));
    const supervised = new Supervised(options, runtimeFolder);
    if (options.waits === false) return supervised;
    try {
      await supervised.logs(/generation \d+ (serves|is adopted)/);
    } catch (error) {
      await supervised.kill();
      throw error;
    }
    return supervised;
  }

  get pid(): number {
    return this.process.pid ?? -1;
  }

  get isOver(): boolean {
    return this.process.exitCode !== null || this.process.signalCode !== null;
  }

  /** The messages of moult's own log. */
  log(): string[] {
    return this.timedLog().map(({ msg }) => msg);
  }

  /** The same, with the time of each, in milliseconds. */
  timedLog(): readonly LogLine[] {
    const end = this.stderr.lastIndexOf('\n') + 1;
    for (const line of this.stderr.slice(this.#readTo, end).split('\n')) {
      if (!line.startsWith('{"level"')) continue;
      try {
        this.#logLines.push(JSON.parse(line) as LogLine);
      } catch {
        // The service wrote it.
      }
    }
    this.#readTo = Math.max(this.#readTo, end);
    return this.#logLines;
  }

  /** Waits until moult logs something. */
  logs(pattern: RegExp): Promise<string> {
    return this.#appears(`moult logs ${pattern}`, () => this.log().find((line) => pattern.test(line)));
  }

  /** Waits until the service, or moult, writes something; the match. */
  writes(pattern: RegExp): Promise<RegExpExecArray> {
    return this.#appears(`the output has ${pattern}`, () => pattern.exec(this.output));
  }

  async #appears<T>(what: string, find: () => T | null | undefined): Promise<T> {
    const found = await until(what, () => find() ?? this.isOver).catch((error: Error) => {
      throw new Error(`${error.message}; the output was:\n${this.output}`);
    });
    const value = found === true ? find() : (found as T);
    if (value === null || value === undefined) throw new Error(`${what}: it ended before:\n${this.output}`);
    return value;
  }

  get folder(): RunFolder {
    return new RunFolder(this.name, path.join(this.runtimeFolder, 'moult'));
  }

  async status(): Promise<ServiceStatus> {
    return (await ask(this.folder, { type: 'status' })) as unknown as ServiceStatus;
  }

  /** Asks its supervisor from here: what is asked has come in a moment, which a command takes much longer for. */
  asks(question: Parameters<typeof ask>[1]): Promise<Record<string, unknown>> {
    return ask(this.folder, question);
  }

  /**
   * Restarts it as `moult restart` does, without a process for the command where its flags allow that.
   * @throws MoultError as the supervisor, or the command, reported it
   */
  async restart(...flags: string[]): Promise<RestartSummary> {
    const asked = restartAsked(flags);
    if (asked !== undefined) return (await this.asks(asked)) as unknown as RestartSummary;
    const { code, lines, stderr } = await this.restartLines(...flags);
    const result = lines.at(-1) as
      | { type?: string; ok?: boolean; summary?: RestartSummary; error?: ErrorReport }
      | undefined;
    assert.equal(result?.type, 'result', `moult restart gives a result: ${stderr}`);
    if (result.error !== undefined) throw MoultError.from(result.error);
    assert.equal(result.ok, true);
    assert.equal(code, 0);
    return result.summary as RestartSummary;
  }

  /** The lines of `moult restart --json`, parsed. */
  async restartLines(
    ...flags: string[]
  ): Promise<{ code: number | null; lines: Record<string, unknown>[]; stderr: string }> {
    const { code, stdout, stderr } = await this.moult('restart', this.name, '--json', ...flags);
    const lines = stdout.split('\n').filter((line) => line !== '');
    return { code, lines: lines.map((line) => JSON.parse(line) as Record<string, unknown>), stderr };
  }

  /** The failure of a restart that must fail. */
  async failingRestart(...flags: string[]): Promise<MoultError> {
    try {
      await this.restart(...flags);
    } catch (error) {
      assert.ok(error instanceof MoultError, String(error));
      return error;
    }
    return assert.fail('the restart succeeded, and should have failed');
  }

  /** Runs a command of moult as a person would; whatever it says. */
  async moult(...args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
    return runNode([cli, ...args], this.#env, this.#node);
  }

  /** The generation that accepts now. */
  async current(): Promise<ServiceStatus['generations'][number]> {
    // One that has no time to answer may accept; it is asked again.
    const generations = await until('every generation answers', async () => {
      const { generations } = await this.status();
      return accepting(generations).length > 0 || generations.every(({ state }) => state !== 'silent')
        ? generations
        : undefined;
    });
    const found = accepting(generations);
    assert.equal(found.length, 1, `one generation accepts: ${JSON.stringify(generations)}`);
    return found[0] as ServiceStatus['generations'][number];
  }

  /** Where its first listener is reached. */
  async target(): Promise<{ host: string; port: number }> {
    const { listeners } = await this.current();
    const address = listeners?.[0]?.address as { address: string; port: number } | undefined;
    assert.ok(address !== undefined && 'port' in address, 'it listens on a port');
    const host = address.address === '::' || address.address === '0.0.0.0' ? '127.0.0.1' : address.address;
    return { host, port: address.port };
  }

  /** The service for `verify`. */
  async underTest(target?: Target): Promise<ServiceUnderTest> {
    return {
      target: target ?? (await this.target()),
      restart: (): Promise<RestartOutcome> =>
        this.restart().then(
          (summary) => ({ ok: true, generation: summary.generation, summary }),
          ({ code, message }: MoultError) => ({ ok: false, error: { code, message } }),
        ),
      stop: async () => {},
    };
  }

  /** Waits until only one generation is left; its process. */
  async alone(): Promise<number> {
    return until('one generation is left', async () => {
      const { generations } = await this.status();
      return generations.length === 1 && generations[0]?.pid;
    });
  }

  /** The open descriptors of the supervisor and of the generation that accepts, when nothing changes any more. */
  async descriptors(): Promise<{ supervisor: string[]; service: string[] }> {
    const pid = await this.alone();
    return { supervisor: descriptorsOf(this.pid), service: descriptorsOf(pid) };
  }

  /** Fails unless both processes hold as many descriptors as they did. */
  async assertDescriptors(before: { supervisor: string[]; service: string[] }): Promise<void> {
    await until(
      'the descriptors are as many as before',
      async () => {
        const now = await this.descriptors();
        return (
          now.supervisor.length <= before.supervisor.length && now.service.length <= before.service.length
        );
      },
      3000,
    ).catch(async (error: Error) => {
      const now = await this.descriptors();
      assert.deepEqual(now, before, error.message);
    });
  }

  /** Stops it gracefully, and fails when anything is left. */
  async stop(expectedCode: number | string = 0): Promise<void> {
    try {
      if (!this.isOver) this.process.kill('SIGTERM');
      const code = await within('moult run ends', this.ended).catch((error: Error) => {
        assert.fail(`${error.message}\n${this.output}`);
      });
      assert.equal(code, expectedCode, this.output);
      await this.assertNothingLeft();
    } finally {
      await this.kill();
    }
  }

  /** Fails when a process of it lives, or a file of it lies around. */
  async assertNothingLeft(): Promise<void> {
    await until('every process has ended', () => processesWith(this.mark).length === 0, 3000).catch(() => {
      assert.deepEqual(processesWith(this.mark), [], `left behind:\n${this.output}`);
    });
    const runRoot = path.join(this.runtimeFolder, 'moult');
    assert.deepEqual(existsSync(runRoot) ? readdirSync(runRoot) : [], [], 'the run folder is gone');
  }

  /** Kills `moult run` alone; its service serves on. */
  async killSupervisor(): Promise<void> {
    const gone = once(this.process, 'exit');
    process.kill(this.pid, 'SIGKILL');
    await gone;
  }

  /** Ends all that is left of it by force, and removes its folder. */
  async kill(): Promise<void> {
    // Again and again: the supervisor may just be starting one more.
    await until('every process is killed', () => {
      const left = processesWith(this.mark);
      for (const { pid } of left) {
        try {
          process.kill(pid, 'SIGKILL');
        } catch {
          // It has just ended.
        }
      }
      return left.length === 0;
    });
    await within('moult run ends', this.ended);
    await rm(this.runtimeFolder, { recursive: true, force: true });
  }
}

/** Runs a service for the length of a test; whatever happens, nothing is left, and that is checked. */
export async function withService(
  options: SupervisedOptions,
  test: (service: Supervised) => Promise<void>,
): Promise<void> {
  const service = await Supervised.start(options);
  try {
    await test(service);
  } catch (error) {
    await service.kill();
    if (error instanceof Error) error.message += `\nthe output was:\n${service.output.slice(-4000)}`;
    throw error;
  }
  await service.stop();
}

/** A folder for the length of a test. */
export async function withFolder(test: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(path.join(tmpdir(), 'moult-it-'));
  try {
    await test(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Points a link at something else, in one step, as a deploy does. */
export async function pointAt(link: string, to: string): Promise<void> {
  await symlink(to, `${link}.next`);
  await rename(`${link}.next`, link);
}

/** Fails when a promise does not settle within the bound. */
export async function within<T>(what: string, promise: Promise<T>, boundMs = BOUND_MS): Promise<T> {
  const over = new AbortController();
  const late = pause(boundMs, undefined, { signal: over.signal }).then(() =>
    assert.fail(`waited ${boundMs} ms until ${what}`),
  );
  late.catch(() => {});
  try {
    return await Promise.race([promise, late]);
  } finally {
    over.abort();
  }
}

/** Runs Node to its end. */
export function runNode(
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  node = process.execPath,
  cwd?: string,
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(node, args, {
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
      ...(cwd === undefined ? {} : { cwd }),
    });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, stdout, stderr }));
  });
}

/** The living processes whose environment holds this entry. */
export function processesWith(entry: string): { pid: number; command: string }[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const environment = readFileSync(`/proc/${name}/environ`, 'utf8').split('\0');
        if (!environment.includes(entry)) return [];
        return [
          { pid: Number(name), command: readFileSync(`/proc/${name}/cmdline`, 'utf8').replaceAll('\0', ' ') },
        ];
      } catch {
        return [];
      }
    });
}

/** What the open descriptors of a process are, sorted. */
export function descriptorsOf(pid: number): string[] {
  const folder = `/proc/${pid}/fd`;
  return readdirSync(folder)
    .flatMap((fd) => {
      try {
        return [readlinkSync(`${folder}/${fd}`).replace(/\d{3,}/, 'N')];
      } catch {
        return [];
      }
    })
    .sort();
}
