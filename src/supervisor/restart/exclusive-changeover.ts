import type { Logger } from 'pino';
import { asMoultError, MoultError } from '../../errors.js';
import { livingOfSession } from '../../os/processes/proc-tree.js';
import { signal } from '../../os/processes/process.js';
import type { SupervisorOptions } from '../options.js';
import type { GenerationProcess } from '../process/generation-process.js';
import type { Generations } from '../process/generations.js';
import type { CrashRecovery } from './crash-recovery.js';

/*
 * Services that must never run twice: what there is of one generation has ended before a process of the next one begins.
 */

const LOOK_MS = 20;
/** How often to check whether the release before serves again. */
const RETURN_LOOK_MS = 20;

type Times = Pick<SupervisorOptions, 'drainTimeoutMs' | 'stopTimeoutMs' | 'stopSignal'>;

/**
 * Asks a generation to finish what it has and to end; what listens of it stays open for the next one.
 * @returns when nothing of any generation is left; after the drain and the stop time-out it is killed.
 */
export async function endBefore(
  generation: GenerationProcess,
  generations: Generations,
  times: Times,
  log: Logger,
): Promise<void> {
  // A generation that could resume beside it is not needed any more: the operator has decided.
  for (const one of generations.all()) if (one !== generation) one.lifeline?.send({ type: 'confirm' });
  generation.isEnding = true;
  const timeoutMs = times.drainTimeoutMs;
  if (generation.isReachable) generation.lifeline?.send({ type: 'retire', timeoutMs, keepOpen: true });
  else generation.signalService(times.stopSignal);
  await nothingLeft(generations, times, log);
}

/** Waits until nothing of any generation is left; what has not ended within the drain and the stop time-out is killed. */
export async function nothingLeft(generations: Generations, times: Times, log: Logger): Promise<void> {
  const limitMs = times.drainTimeoutMs + times.stopTimeoutMs;
  const late = setTimeout(() => {
    for (const one of generations.own()) {
      log.warn(`generation ${one.number} did not exit within ${limitMs} ms and is killed`);
      one.kill();
    }
  }, limitMs);
  try {
    for (let own = generations.own(); own.length > 0; own = generations.own())
      await Promise.all(own.map((one) => treeEnded(one, generations)));
  } finally {
    clearTimeout(late);
  }
}

/** Waits until the release before serves again. @returns the error with what has come of that: who is told that it failed is told, too, who serves from then on. */
export async function withReturn(
  error: unknown,
  generations: Generations,
  crashRecovery: CrashRecovery,
  readyTimeoutMs: number,
): Promise<MoultError> {
  const limitMs = performance.now() + readyTimeoutMs;
  const isComing = () => crashRecovery.isWaiting || generations.starting() !== undefined;
  while (generations.current === undefined && isComing() && performance.now() < limitMs)
    await new Promise((resolve) => setTimeout(resolve, RETURN_LOOK_MS));
  const told = asMoultError(error, 'MOULT_HANDOVER_ABORTED');
  const { current } = generations;
  const { stage, details } = told;
  const what =
    current === undefined
      ? 'the previous release is not serving again yet'
      : `generation ${current.number} was started instead, from the previous release`;
  return new MoultError(told.code, `${told.message}; ${what}`, {
    serving: current === undefined ? 'none' : 'predecessor',
    ...(stage === undefined ? {} : { stage }),
    ...(details === undefined ? {} : { details }),
    cause: told,
  });
}

// Its children are killed with it; they may take a moment to be gone. It counts among the living until its last words are heard.
async function treeEnded(one: GenerationProcess, generations: Generations): Promise<void> {
  await generations.gone(one);
  const { pid } = one;
  for (let left = livingOfSession(pid); left.length > 0; left = livingOfSession(pid)) {
    for (const member of left) signal(member, 'SIGKILL');
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
}
