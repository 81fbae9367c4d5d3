import type { Logger } from 'pino';
import { MoultError } from '../../errors.js';
import { wallClockMs } from '../../os/clock.js';
import type { SupervisorOptions } from '../options.js';
import type { GenerationProcess } from '../process/generation-process.js';
import type { Generations } from '../process/generations.js';
import { whatItWaitsFor } from '../process/start-wait.js';
import type { ReleaseHistory } from '../releases/release-history.js';
import { EXPECT_TIMEOUT_MS } from './ask-predecessor.js';
import type { Probation } from './probation.js';

/** How often one that starts is asked whether it answers. */
const LOOK_AGAIN_MS = 500;

/** What it takes to wait for another change. */
export interface OtherChangesParts {
  readonly generations: Generations;
  readonly probation: Probation;
  readonly releases: ReleaseHistory;
  readonly options: SupervisorOptions;
  readonly log: Logger;
  /** How many connections one has, as far as that is seen from outside. */
  readonly connections: (generation: GenerationProcess) => number;
}

/** What else changes who serves, an undo or another start: a restart waits until it is over. */
export class OtherChanges {
  readonly #parts: OtherChangesParts;

  constructor(parts: OtherChangesParts) {
    this.#parts = parts;
  }

  /** No generation hands back, and none takes back: neither can be replaced. @throws MOULT_RESTART_IN_PROGRESS */
  async undoOver(): Promise<void> {
    const { generations, probation, options } = this.#parts;
    const { successor } = probation;
    if (successor === undefined || !generations.machine.is('undoing', 'resuming', 'giving-back')) return;
    const limitMs = options.readyTimeoutMs + EXPECT_TIMEOUT_MS;
    let limit: NodeJS.Timeout | undefined;
    const late = new Promise<'late'>((resolve) => {
      limit = setTimeout(() => resolve('late'), limitMs);
    });
    const how = await Promise.race([probation.confirmed(successor.number).catch(() => 'undone'), late]);
    clearTimeout(limit);
    if (how !== 'late') return;
    const what = `generation ${successor.number} must hand back, but its predecessor did not answer within ${limitMs} ms`;
    throw new MoultError('MOULT_RESTART_IN_PROGRESS', what, { serving: 'unchanged' });
  }

  /** No generation starts. @param force whether one that has not come back is ended. @throws MOULT_PEER_TIMEOUT, MOULT_READY_TIMEOUT */
  async startOver(force: boolean): Promise<void> {
    const { generations, releases, options, log } = this.#parts;
    const starting = generations.starting();
    if (starting === undefined) return;
    let limit: NodeJS.Timeout | undefined;
    const late = new Promise<'late'>((resolve) => {
      limit = setTimeout(() => resolve('late'), options.readyTimeoutMs);
    });
    const waiting = new AbortController();
    // Of one that an earlier supervisor left, and of a first one, more must be known.
    const isSpare = releases.lastGood() !== undefined && !starting.isAdopted;
    const silent = isSpare ? [fallsSilent(starting, options.hangTimeoutMs, waiting.signal)] : [];
    const how = await Promise.race([starting.serves, starting.exited, late, ...silent]);
    waiting.abort();
    clearTimeout(limit);
    if (how !== 'late' && how !== 'silent') return;
    if (starting.isAdopted && !force) throw this.#notBack(starting);
    if (releases.lastGood() === undefined && !starting.isAdopted) {
      const startedS = Math.round((wallClockMs() - starting.startedAt) / 1000);
      // It may serve all the same, in a way that moult does not see: it is not ours to end.
      throw new MoultError(
        'MOULT_READY_TIMEOUT',
        `generation ${starting.number} has been starting for ${startedS} s and is not replaced: ${whatItWaitsFor(starting, options.isProgram)}. To change how it is started: moult stop, then moult run`,
        { serving: 'unchanged' },
      );
    }
    // A start that hangs must not hold up the release that mends it.
    const { number } = starting;
    if (how === 'silent')
      log.warn(
        `generation ${number} has not answered for ${options.hangTimeoutMs} ms in its start and is killed`,
      );
    else if (starting.isAdopted) log.warn(`generation ${number} has not reconnected and is killed`);
    else log.warn(`generation ${number} was not ready within ${options.readyTimeoutMs} ms and is killed`);
    starting.kill();
    await starting.exited;
  }

  // It may serve clients all the while.
  #notBack(generation: GenerationProcess): MoultError {
    const { number, pid } = generation;
    const what = `generation ${number} (process ${pid}), left by an earlier supervisor, is running but has not reconnected`;
    const cost = `cuts its connections (${this.#parts.connections(generation)} now) and their requests`;
    return new MoultError(
      'MOULT_PEER_TIMEOUT',
      `${what}; moult restart --force kills it and starts a new one, which ${cost}`,
      { serving: 'unchanged' },
    );
  }
}

/** Settles once one that has shown itself, and serves nobody yet, does not answer: its event loop is blocked. */
export async function fallsSilent(
  starting: GenerationProcess,
  withinMs: number,
  signal?: AbortSignal,
): Promise<'silent' | undefined> {
  const isStarting = () =>
    signal?.aborted !== true && starting.servingSince === undefined && starting.exit === undefined;
  while (isStarting()) {
    const answers =
      !starting.isReachable ||
      (await starting.state(withinMs).then(
        () => true,
        () => false,
      ));
    if (!answers && isStarting()) return 'silent';
    await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS).unref());
  }
  return undefined;
}
