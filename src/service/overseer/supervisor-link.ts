import { dirname, join } from 'node:path';
import type { Channel } from '../../channel/channel.js';
import { Opening, openWhenGreeted } from '../../channel/open.js';
import { MoultError } from '../../errors.js';
import type { RestartSummary } from '../../lifecycle/restart-record.js';
import { keptName } from '../../logs/kept-output.js';
import type { Settings } from '../../protocol/messages.js';
import { PROTOCOL } from '../../protocol/version.js';
import { MOULT_VERSION } from '../../version.js';
import { DirectOutput } from './direct-output.js';
import { keepCopy } from './kept-copy.js';
import type { Overseer, Standing } from './overseer.js';
import { type Rejoined, rejoin } from './rejoin.js';

/** Where a supervisor is found that came when the path of the one before was gone. */
const PUBLIC = 'control.sock';

/** Longer than any restart: the supervisor itself keeps the deadlines. */
const ANSWER_TIMEOUT_MS = 24 * 3_600_000;

/** How long a process that must end may take to do so by its own handlers. */
const END_TIMEOUT_MS = 1000;

/** A generation's link to the supervisor that started it, or to one that came after. */
export class SupervisorLink implements Overseer {
  readonly lifeline: Channel;
  readonly folder: string;
  readonly hearsLeft: boolean;
  readonly isFolderOfService = true;
  readonly mayEnd = Promise.resolve();
  readonly #path: string;
  readonly #generation: number;
  #output: DirectOutput;
  #meet: ((supervisor: Channel) => void) | undefined;

  /**
   * @param path of the supervisor's socket.
   * @param output of the supervisor; belongs to this object.
   * @param generation the number of this one.
   * @param settings what this supervisor said in its welcome.
   */
  constructor(path: string, lifeline: Channel, output: DirectOutput, generation: number, settings: Settings) {
    this.hearsLeft = settings.hearsLeft === true;
    this.#path = path;
    this.#generation = generation;
    this.folder = dirname(path);
    this.lifeline = lifeline;
    this.#output = output;
    lifeline.on('direct-output', () => this.releaseOutput());
    lifeline.on('renew-output', ({ id }, incoming) => {
      output.renew(incoming.take(), () => lifeline.send({ type: 'output-renewed', id }));
    });
    lifeline.closed.then(() => {
      this.releaseOutput();
      output.readOn();
    });
  }

  async restart(): Promise<RestartSummary> {
    const opening = await openWhenGreeted(this.#path, () => ({ role: 'operator' }));
    if (opening === undefined) {
      throw new MoultError('MOULT_PEER_CLOSED', 'the supervisor cannot be reached', { serving: 'unchanged' });
    }
    const channel = opening.toChannel();
    try {
      channel.on('event', () => {});
      const answer = channel.next(['result', 'refused'], ANSWER_TIMEOUT_MS);
      channel.send({
        type: 'restart',
        wait: true,
        ifBusy: 'wait',
        allowFewerListeners: false,
        untilConfirmed: false,
        whenQuiet: null,
      });
      const message = await answer;
      if (message.type === 'result' && message.ok) return message.value as unknown as RestartSummary;
      const silent = { code: 'MOULT_HANDOVER_ABORTED', message: 'the supervisor gave no reason' };
      throw MoultError.from(message.error ?? silent);
    } finally {
      channel.close();
    }
  }

  restartBySignal(): Promise<RestartSummary> {
    return this.restart();
  }

  // They come to the supervisor.
  receive(): void {}

  admit(): never {
    throw new MoultError(
      'MOULT_NOT_EXPECTED',
      `a supervisor runs this service: take over with moult run --take-over ${this.folder}`,
    );
  }

  // The supervisor learns of all this by itself.
  accepts(): void {}

  retires(): boolean {
    return false;
  }

  passOnStop(): boolean {
    return false;
  }

  predecessorEnded(): void {}

  // The supervisor ends this process; where it is gone itself nobody would.
  aborted(error: MoultError): void {
    this.lifeline.closed.then(() => {
      process.emitWarning(
        `${error.message} (${error.code}), and its supervisor is gone: it exits`,
        'MoultWarning',
      );
      process.exitCode = 1;
      setTimeout(() => process.exit(), END_TIMEOUT_MS).unref();
      process.kill(process.pid, 'SIGTERM');
    });
  }

  releaseOutput(): void {
    keepCopy(join(this.folder, keptName(this.#generation)));
    this.#output.begin();
  }

  next(generation: number, standing: () => Standing, follow: (overseer: Overseer) => void): void {
    let isOver = false;
    const introduce = () => {
      const known = { role: 'generation', generation, node: process.version } as const;
      return {
        ...known,
        members: true,
        shares: true,
        takesOutput: true,
        takesDoor: true,
        hearsStopping: true,
        rejoin: standing(),
      };
    };
    // What a supervisor says next must find who listens: all of it is done in the turn of the welcome.
    const goOn = ({ channel, output, settings }: Rejoined) => {
      isOver = true;
      this.#meet = undefined;
      follow(new SupervisorLink(this.#path, channel, new DirectOutput(output), generation, settings));
    };
    this.#meet = (channel) => {
      channel.on('welcome', ({ settings }, incoming) => {
        if (isOver) channel.close();
        else goOn({ channel, output: incoming.take(), settings });
      });
      channel.on('refused', () => channel.close());
      const known = { protocol: PROTOCOL.max, moult: MOULT_VERSION, pid: process.pid };
      channel.send({ type: 'hello', ...known, ...introduce() });
    };
    rejoin([this.#path, join(this.folder, PUBLIC)], introduce, () => isOver).then((rejoined) => {
      if (rejoined !== undefined) goOn(rejoined);
    });
  }

  meet(supervisor: Channel): boolean {
    this.#meet?.(supervisor);
    return this.#meet !== undefined;
  }
}

/**
 * Begins the opening of a lifeline.
 * @param isStarted whether this is the process that the supervisor started, and not one that a wrapper started again.
 * @returns null when no supervisor is there: what a wrapper starts again runs by itself then.
 * @throws MOULT_PEER_CLOSED when none is there, and this process was started by one: it has served nobody yet, could never
 *   come back to another supervisor, and would keep the port from the one that follows.
 */
export function openLifeline(
  path: string,
  generation: number,
  timeoutMs: number,
  isStarted: boolean,
): Opening | null {
  try {
    const { version: node, argv } = process;
    return new Opening(
      path,
      {
        role: 'generation',
        generation,
        node,
        entry: argv[1] ?? '',
        members: true,
        shares: true,
        takesOutput: true,
        takesDoor: true,
        hearsStopping: true,
      },
      timeoutMs,
    );
  } catch (error) {
    if (!(error instanceof MoultError) || error.code !== 'MOULT_SYSTEM_CALL') throw error;
    if (isStarted) {
      // Also where the program takes the error for one of its own.
      process.exitCode = 1;
      setImmediate(() => process.exit());
      const what = `generation ${generation} exits before it served a client: the supervisor that started it cannot be reached`;
      throw new MoultError('MOULT_PEER_CLOSED', `${what} (${error.message})`, { cause: error });
    }
    process.emitWarning(
      `the supervisor is gone (${error.message}); the service runs without it`,
      'MoultWarning',
    );
    return null;
  }
}
