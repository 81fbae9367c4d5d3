import type { ChildProcess } from 'node:child_process';
import type { Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { Channel } from '../channel/channel.js';
import { type ErrorReport, MoultError } from '../errors.js';
import { wallClockMs } from '../os/clock.js';
import { launch, signal } from '../os/process.js';
import type { GenerationState, Settings } from '../protocol/messages.js';
import { variablesFor } from '../service/environment.js';
import { OutputTail, passThrough } from './output.js';
import type { Release } from './release.js';

const PRELOAD = fileURLToPath(new URL('../service/preload.cjs', import.meta.url));

/** How a process ended. */
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** Where its output goes. */
export interface Outputs {
  readonly stdout: Writable;
  readonly stderr: Writable;
}

/** One generation as the supervisor sees it: the process tree that it started, and the channel to the service in it. */
export class GenerationProcess {
  readonly number: number;
  readonly release: Release;
  readonly settings: Settings;
  readonly startedAt = wallClockMs();
  readonly output = new OutputTail();
  /** Settles when the process that was started has ended. */
  readonly exited: Promise<Exit>;
  exit: Exit | undefined;
  /** The channel to the service, once it has shown itself. */
  lifeline: Channel | undefined;
  /** The socket at which it receives a successor. */
  door: string | undefined;
  /** Milliseconds since 1970 when it began to accept; undefined before. */
  servingSince: number | undefined;
  /** The listeners that it claimed, once it is ready. */
  claims: ReadonlySet<string> | undefined;
  /** Whether its end is asked for, and no crash. */
  isEnding = false;
  #child: ChildProcess;
  #asked = 0;
  #questions = new Map<string, (answer: unknown) => void>();

  /** @throws MOULT_SPAWN_FAILED when the command cannot be started at all. */
  constructor(number: number, release: Release, settings: Settings, supervisor: string, outputs: Outputs) {
    this.number = number;
    this.release = release;
    this.settings = settings;
    const { NODE_OPTIONS } = release.env;
    const variables = variablesFor(
      { supervisor, generation: number },
      release.isDirect,
      PRELOAD,
      NODE_OPTIONS,
    );
    this.#child = launch({ ...release, env: { ...release.env, ...variables } });
    const { stdout, stderr } = this.#child;
    if (stdout !== null) passThrough(stdout, outputs.stdout, this.output);
    if (stderr !== null) passThrough(stderr, outputs.stderr, this.output);
    this.exited = new Promise((resolve) => {
      this.#child.once('error', (error) => {
        this.output.add(Buffer.from(`${error.message}\n`));
        this.exit ??= { code: 127, signal: null };
        resolve(this.exit);
      });
      this.#child.once('exit', (code, name) => {
        this.exit ??= { code, signal: name };
        // The last output of a process may come after its end.
        setImmediate(() => resolve(this.exit ?? { code, signal: name }));
      });
    });
  }

  /** The process that was started; the service may be one below it. */
  get pid(): number {
    return this.#child.pid ?? -1;
  }

  /** The process of the service itself, as the kernel names it. */
  get servicePid(): number {
    return this.lifeline?.peer.pid ?? this.pid;
  }

  /** Signals the service. */
  signalService(name: NodeJS.Signals): void {
    if (this.exit === undefined) signal(this.servicePid, name);
  }

  /** Ends the whole process tree at once. */
  kill(): void {
    if (this.pid > 0) signal(-this.pid, 'SIGKILL');
  }

  /** The service has shown itself: from now on it is reached through this channel. */
  attach(lifeline: Channel): void {
    this.lifeline = lifeline;
    lifeline.on('door', ({ path }) => {
      this.door = path;
    });
    // Answers may come after their question was given up; they must not be out of order then.
    lifeline.on('state', ({ id, state }) => this.#answer(`state ${id}`, state));
    lifeline.on('expecting', ({ generation, error }) => this.#answer(`expecting ${generation}`, error));
  }

  /** What the service tells of itself. @throws MOULT_PEER_CLOSED, MOULT_PEER_TIMEOUT */
  state(timeoutMs: number): Promise<GenerationState> {
    const id = ++this.#asked;
    return this.#ask(`state ${id}`, timeoutMs, () =>
      this.lifeline?.send({ type: 'ask-state', id }),
    ) as Promise<GenerationState>;
  }

  /** Has it expect a successor. @throws MOULT_PEER_CLOSED, MOULT_PEER_TIMEOUT, MOULT_PROTOCOL_ORDER; nothing has changed then. */
  async expect(generation: number, settings: Settings, timeoutMs: number): Promise<void> {
    if (this.door === undefined) {
      throw new MoultError(
        'MOULT_PEER_CLOSED',
        `generation ${this.number} has no socket at which it could hand over`,
      );
    }
    const refusal = await this.#ask(`expecting ${generation}`, timeoutMs, () =>
      this.lifeline?.send({ type: 'expect', generation, settings }),
    );
    if (refusal !== undefined) throw MoultError.from(refusal as ErrorReport);
  }

  #ask(question: string, timeoutMs: number, send: () => void): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.lifeline === undefined || this.lifeline.isClosed) {
        reject(
          new MoultError(
            'MOULT_PEER_CLOSED',
            `generation ${this.number} has no connection to its supervisor`,
          ),
        );
        return;
      }
      const timer = setTimeout(() => {
        this.#questions.delete(question);
        reject(
          new MoultError(
            'MOULT_PEER_TIMEOUT',
            `generation ${this.number} did not answer within ${timeoutMs} ms: it is stopped, or its event loop is blocked`,
          ),
        );
      }, timeoutMs);
      this.#questions.set(question, (answer) => {
        clearTimeout(timer);
        resolve(answer);
      });
      send();
    });
  }

  #answer(question: string, answer: unknown): void {
    this.#questions.get(question)?.(answer);
    this.#questions.delete(question);
  }
}
