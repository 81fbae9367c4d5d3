import type { ObeyedRecord } from '../records.js';
import type { Health, PastRestart } from './local-service.js';

/*
 * What serves on a host, by what is kept of the instruction that it obeyed, and by what its supervisor says. The numbers of
 * generations alone tell little: a service that is started where nothing served any more may count from 1 on again. Pure.
 */

/**
 * What serves now: what the roll brought, what was there before or what the host went back to, a release that another command
 * brought, or a service that was started anew.
 */
export function whatServes(
  obeyed: ObeyedRecord | undefined,
  health: Health,
  history: readonly PastRestart[],
): 'ours' | 'nothing' | 'another' | 'anew' {
  const { before = { generation: 0 }, made = Number.POSITIVE_INFINITY, madeAt } = obeyed ?? {};
  const { generation } = health;
  if (hasGoneBack(obeyed, health, history)) return 'nothing';
  const isKnown = history.some((one) => one.generation === made && one.at === madeAt);
  if (madeAt !== undefined && !isKnown) return history.some(isGood) ? 'another' : 'anew';
  if (isStartedAnew(obeyed, health, history)) return hasChangedPaths(obeyed) ? 'anew' : 'nothing';
  if (obeyed?.isAnew === true)
    return history.some((one) => isGood(one) && one.generation > made) ? 'another' : 'anew';
  if (generation <= before.generation) return 'nothing';
  const since = history.filter((one) => one.generation > before.generation);
  const good = since.filter(isGood);
  if (good.some((one) => one.kind === 'restart' && one.generation > made)) return 'another';
  if (good.at(-1)?.kind === 'rollback') return 'nothing';
  // A start after a crash has the release that was there; what the history lacks a supervisor was killed in.
  return good.length > 0 || !since.some((one) => one.generation === generation) ? 'ours' : 'nothing';
}

/** Whether what serves was started where nothing served any more, and not by a restart, nor by the supervisor after a crash. */
export function isStartedAnew(
  obeyed: ObeyedRecord | undefined,
  { generation, process, tookOver }: Health,
  history: readonly PastRestart[],
): boolean {
  const { generation: last, process: lastProcess } = obeyed?.before ?? { generation: 0 };
  if (last === 0) return false;
  const isIn = (number: number) => history.some((one) => one.generation === number);
  if (generation < last) return !isIn(last);
  if (generation > last) return tookOver === false && !isIn(generation);
  return lastProcess !== undefined && process !== undefined && process !== lastProcess;
}

/** Whether a start from the paths brings something else than what was there before. */
export function hasChangedPaths(obeyed: ObeyedRecord | undefined): boolean {
  const { release = null, isDeployed, made } = obeyed ?? {};
  return release === null || isDeployed === true || made !== undefined;
}

// A supervisor that ended before it answered may have done it, and not have written that down.
function hasGoneBack(
  obeyed: ObeyedRecord | undefined,
  { generation, tookOver }: Health,
  history: readonly PastRestart[],
): boolean {
  if (generation <= (obeyed?.wentFrom ?? Number.POSITIVE_INFINITY)) return false;
  const written = history.findLast((one) => one.generation === generation);
  return written === undefined ? tookOver === true : isGood(written);
}

function isGood({ result }: PastRestart): boolean {
  return result === 'confirmed' || result === 'took over';
}
