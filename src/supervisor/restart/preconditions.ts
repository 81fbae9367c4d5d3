import type { Logger } from 'pino';
import { MoultError } from '../../errors.js';
import { freeMemoryBytes } from '../../os/processes/memory.js';
import type { SupervisorOptions } from '../options.js';
import type { GenerationProcess } from '../process/generation-process.js';

/** How often to check whether a restart may begin. */
const LOOK_MS = 100;
/** How long a restart waits for memory to become free. */
const MEMORY_WAIT_MS = 30_000;

/** Wait for a quiet moment. */
export interface QuietRequest {
  /** Quiet means no more requests in flight than this. */
  readonly below: number;
  readonly withinMs: number;
  readonly atLimit: 'go' | 'give-up';
}

interface Asked {
  readonly ifBusy: 'wait' | 'refuse';
  readonly whenQuiet: QuietRequest | null;
}

interface Surroundings {
  /** The older generations that still drain. */
  draining(): readonly GenerationProcess[];
  inFlight(): Promise<number>;
  readonly log: Logger;
}

/**
 * Waits until a restart may begin: not too many generations drain, there is memory for one more, and the
 * service is quiet where that was asked for.
 * @throws MOULT_TOO_MANY_DRAINING, MOULT_LOW_MEMORY, MOULT_NOT_QUIET; nothing has changed then.
 */
export async function admit(asked: Asked, options: SupervisorOptions, around: Surroundings): Promise<void> {
  await fewDrain(asked, options.maxDraining, around);
  await enoughMemory(asked, options.minFreeMemoryBytes, around);
  if (asked.whenQuiet !== null) await quiet(asked.whenQuiet, around);
}

async function fewDrain(asked: Asked, most: number, { draining, log }: Surroundings): Promise<void> {
  for (let all = draining(); all.length >= most; all = draining()) {
    const names = all.map(({ number }) => number).join(', ');
    const what = `generations ${names} are still draining, at most ${most} may (--max-draining)`;
    if (asked.ifBusy === 'refuse') throw new MoultError('MOULT_TOO_MANY_DRAINING', what);
    log.warn(`${what}: the restart waits for one to end`);
    // Each has its own deadline, so this ends.
    await Promise.race(all.map(({ exited }) => exited));
  }
}

async function enoughMemory(asked: Asked, least: number, { log }: Surroundings): Promise<void> {
  const limit = performance.now() + MEMORY_WAIT_MS;
  for (let isTold = false; freeMemoryBytes() < least; isTold = true) {
    const what = `${megabytes(freeMemoryBytes())} of memory are free, at least ${megabytes(least)} are required (--min-free-memory)`;
    if (asked.ifBusy === 'refuse' || performance.now() > limit)
      throw new MoultError('MOULT_LOW_MEMORY', what);
    if (!isTold) log.warn(`${what}: the restart waits`);
    await pause();
  }
}

async function quiet(
  { below, withinMs, atLimit }: QuietRequest,
  { inFlight, log }: Surroundings,
): Promise<void> {
  const limit = performance.now() + withinMs;
  for (let now = await inFlight(); now > below; now = await inFlight()) {
    if (performance.now() > limit) {
      const what = `${now} requests were still in flight after ${withinMs} ms, --when-quiet allows ${below}`;
      if (atLimit === 'give-up') throw new MoultError('MOULT_NOT_QUIET', what);
      log.warn(`${what}: the restart goes ahead`);
      return;
    }
    await pause();
  }
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, LOOK_MS));
}

function megabytes(bytes: number): string {
  return `${Math.round(bytes / 1024 / 1024)} MB`;
}
