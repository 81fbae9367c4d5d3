import type { Logger } from 'pino';
import { asMoultError, type MoultError } from '../../errors.js';
import type { RestartSummary } from '../../lifecycle/restart-record.js';
import type { Journal } from '../journal/journal.js';
import { tellingLine } from '../output/telling-line.js';
import type { Generations } from '../process/generations.js';
import { named } from '../releases/release-files.js';

/** What an outcome is told with. */
export interface RestartOutcomeParts {
  readonly generations: Generations;
  readonly journal: Journal;
  readonly log: Logger;
}

/** What tells a restart from others in the history. */
interface Kind {
  readonly isRollback: boolean;
  readonly recycledBecause: string | undefined;
}

/** Notes a restart that has succeeded in the journal and the log. @param label of the release that was started. */
export function noteSuccess(
  { generations, journal, log }: RestartOutcomeParts,
  summary: RestartSummary,
  kind: Kind,
  label: string | undefined,
): void {
  const { epoch } = generations;
  journal.write({ event: 'restart', ok: true, epoch, ...summary, ...about(kind, label) });
  log.info(
    `generation ${summary.generation} took over from ${summary.predecessor ?? 'nobody'} in ${Math.round(summary.tookMs)} ms: ` +
      `${count(summary.listeners, 'listener')} passed, ${count(summary.moved, 'connection')} moved, ${summary.draining} draining`,
  );
  tellChanged(log, summary.generation, summary.changedFiles ?? []);
}

/** Tells of files of a release that are not as they were when it started, although it serves again. */
export function tellChanged(log: Logger, generation: number, files: readonly string[]): void {
  if (files.length === 0) return;
  log.warn(
    `generation ${generation} serves again, but files of its release were changed since it started, and stay so: ${named(files)}`,
  );
}

function count(of: number, what: string): string {
  return `${of} ${what}${of === 1 ? '' : 's'}`;
}

/** Notes one that has failed. @returns the error as it is told. */
export function noteFailure(
  { generations, journal, log }: RestartOutcomeParts,
  error: unknown,
  kind: Kind,
  label: string | undefined,
): MoultError {
  const told = asMoultError(error, 'MOULT_HANDOVER_ABORTED');
  const { code, message, stage, serving, details } = told;
  const generation = Number(details?.generation ?? generations.lastNumber + 1);
  const lastLine = lastOf(details?.output);
  const more = { ...about(kind, label), ...(lastLine === undefined ? {} : { lastLine }) };
  const { output } = details ?? {};
  journal.write(
    { event: 'restart', ok: false, generation, code, message, stage, serving, ...more },
    { output },
  );
  log.error(`restart failed at ${stage ?? 'its start'}: ${message} (${code}); serving now: ${serving}`);
  return told;
}

function about(
  { isRollback, recycledBecause }: Kind,
  label: string | undefined,
): { kind: string; because?: string; release?: string } {
  const release = label === undefined ? {} : { release: label };
  if (recycledBecause !== undefined) return { kind: 'recycle', because: recycledBecause, ...release };
  return { kind: isRollback ? 'rollback' : 'restart', ...release };
}

/** The line of an output that says most of a failure, where there is one. */
function lastOf(output: unknown): string | undefined {
  return tellingLine(Array.isArray(output) ? output.map(String) : []);
}
