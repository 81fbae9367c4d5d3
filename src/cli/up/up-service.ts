import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync } from 'node:fs';
import type { ConfiguredService } from '../../config/file-services.js';
import { asMoultError, MoultError } from '../../errors.js';
import { calledNode, calledScript } from '../../os/processes/invocation.js';
import { describeExit, isProcess, startTicks } from '../../os/processes/process.js';
import { RunFolder } from '../../supervisor/journal/run-folder.js';
import type { ServiceStatus } from '../../supervisor/status.js';
import { ask } from '../services/control.js';
import { isLeft } from '../services/services.js';
import { KEPT_OUTPUT, OutputReader, openOutput, removeOutput } from './output-file.js';
import type { PrefixedLines } from './prefixed-lines.js';

const LOOK_MS = 100;
/** A supervisor that was killed is started again, which adopts what it left; not if that goes on. */
const MOST_ADOPTIONS = 3;
const ADOPTIONS_WITHIN_MS = 60_000;
/** After so long it is said what is waited for. */
const SILENT_MS = 10_000;

/** How a service came to its end: its exit status, or what is to be said where that is not known. */
export interface Ended {
  readonly code: number;
}

/** One service of `moult up`: started, or found running, and followed to its end. Its supervisor is a process of its own. */
export class UpService {
  readonly name: string;
  /** Settles when its supervisor has ended, and with it the service. */
  readonly ended: Promise<Ended>;
  readonly #service: ConfiguredService;
  readonly #file: string;
  readonly #cwd: string;
  readonly #lines: PrefixedLines;
  readonly #folder: RunFolder;
  readonly #end: (ended: Ended) => void;
  #reader: OutputReader | undefined;
  #looking: NodeJS.Timeout | undefined;
  #child: ChildProcess | undefined;
  #hasBegun = false;
  #isOver = false;
  #adoptedAt: number[] = [];

  constructor(service: ConfiguredService, file: string, cwd: string, lines: PrefixedLines) {
    this.name = service.name;
    this.#service = service;
    this.#file = file;
    this.#cwd = cwd;
    this.#lines = lines;
    this.#folder = new RunFolder(service.name);
    const { promise, resolve } = withResolvers<Ended>();
    this.ended = promise;
    this.#end = resolve;
  }

  /**
   * Starts it, or follows the one that runs.
   * @returns when it serves.
   * @throws MOULT_START_FAILED when it ends before.
   */
  async begin(): Promise<void> {
    this.#hasBegun = true;
    if (this.#folder.isClaimed()) await this.#follow();
    else this.#start();
    this.#looking = setInterval(() => this.#read(), LOOK_MS);
    await this.#serves();
  }

  /** Finishes what is in flight and ends it; a second call at once. */
  async stop(): Promise<void> {
    if (this.#isOver || !this.#hasBegun) return;
    await ask(this.#folder, { type: 'stop' }).catch((error: unknown) => {
      // One that ends while it answers has done what it was asked for; one that cannot be asked yet has nothing to lose.
      if (this.#isOver || this.#child?.kill('SIGTERM')) return;
      this.#lines.say(asMoultError(error, 'MOULT_PEER_CLOSED').message);
    });
    await this.ended;
  }

  /** Leaves it to itself. */
  leave(): void {
    clearInterval(this.#looking);
  }

  #start(): void {
    const isNew = !isLeft(this.name);
    const fd = openOutput(this.name, isNew);
    if (this.#reader === undefined)
      this.#reader = new OutputReader(this.name, (bytes) => this.#lines.output(bytes));
    const { key } = this.#service;
    const choice = key === undefined ? [] : ['--service', key];
    const words = ['run', '--config', this.#file, ...choice, '--output-bound', String(KEPT_OUTPUT)];
    let child: ChildProcess;
    try {
      child = spawn(calledNode(), ['--', calledScript(), ...words], {
        cwd: this.#cwd,
        env: { ...process.env, PWD: this.#cwd },
        // In a session of its own: a Ctrl-C, and the end of this process, reach this process alone.
        detached: true,
        stdio: ['ignore', fd, fd],
      });
    } finally {
      closeSync(fd);
    }
    this.#child = child;
    child.once('error', (error) => this.#over(1, `its supervisor could not be started: ${error.message}`));
    child.once('exit', (code, signal) => {
      if (signal !== null && this.#mayAdopt())
        this.#adopt(`its supervisor ${describeExit({ code, signal })}`);
      else this.#over(code ?? 1, `its supervisor ${describeExit({ code, signal })}`);
    });
  }

  #adopt(what: string): void {
    this.#lines.say(`${what}: a new one adopts the service`);
    try {
      this.#start();
    } catch (error) {
      this.#over(1, `its supervisor could not be started: ${error instanceof Error ? error.message : error}`);
    }
  }

  #mayAdopt(): boolean {
    if (!isLeft(this.name)) return false;
    const now = performance.now();
    this.#adoptedAt = [...this.#adoptedAt.filter((at) => now - at < ADOPTIONS_WITHIN_MS), now];
    return this.#adoptedAt.length <= MOST_ADOPTIONS;
  }

  async #follow(): Promise<void> {
    const { pid, command } = (await ask(this.#folder, { type: 'status' })) as unknown as ServiceStatus;
    const ticks = startTicks(pid);
    this.#lines.say(`runs already (process ${pid}: ${command})`);
    try {
      this.#reader = new OutputReader(this.name, (bytes) => this.#lines.output(bytes));
    } catch {
      this.#lines.say('its output goes to the terminal or file where it was started');
    }
    const look = setInterval(() => {
      if (ticks !== undefined && isProcess(pid, ticks)) return;
      clearInterval(look);
      // By a signal, where it has left its service.
      if (this.#mayAdopt()) this.#adopt('its supervisor is gone');
      else this.#over(0, 'has ended');
    }, LOOK_MS);
    this.ended.then(() => clearInterval(look));
  }

  async #serves(): Promise<void> {
    const tellAtMs = performance.now() + SILENT_MS;
    for (let isTold = false; !this.#isOver; ) {
      const status = await ask(this.#folder, { type: 'status' }).catch(() => undefined);
      if (status?.state === 'serving') return;
      if (!isTold && performance.now() > tellAtMs) {
        this.#lines.say(
          `is not serving yet (${String(status?.state ?? 'no answer')}); moult up keeps waiting`,
        );
        isTold = true;
      }
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
    throw new MoultError('MOULT_START_FAILED', `${this.name} ended before it served`, { serving: 'none' });
  }

  #read(): void {
    try {
      this.#reader?.read();
    } catch (error) {
      this.#lines.say(`its output cannot be read: ${String(error)}`);
      this.#reader = undefined;
    }
  }

  #over(code: number, what: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    clearInterval(this.#looking);
    this.#read();
    this.#reader?.close();
    this.#lines.end();
    this.#lines.say(what);
    if (!isLeft(this.name)) removeOutput(this.name);
    this.#end({ code });
  }
}

function withResolvers<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let settle: (value: T) => void = () => {};
  const promise = new Promise<T>((resolve) => {
    settle = resolve;
  });
  return { promise, resolve: settle };
}
