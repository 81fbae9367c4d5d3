import type { Channel } from '../channel/channel.js';
import { asMoultError, type MoultError } from '../errors.js';
import type { JournalEntry } from '../lifecycle/journal-entry.js';
import type { StageEvent } from '../lifecycle/restart-record.js';
import type { FactWatcher } from './journal/journal.js';
import type { RestartRequest, Watcher } from './restart/restart-service.js';
import type { RollRequest } from './slots/rolling-restart.js';

/** What operators may ask. */
export interface Operated {
  /** @param measure whether the generations are to measure, and tell of it. @param withConfig whether the options that hold are told, too. */
  status(measure?: boolean, withConfig?: boolean): Promise<object>;
  /** What there is to measure, as text for Prometheus. */
  metrics(): Promise<string>;
  /** Has this called with what happens from now on. @returns ends that. */
  watch(watcher: FactWatcher): () => void;
  /** A link to the dashboard that this supervisor serves. */
  dashboard(): Promise<string>;
  /** What failed last, with its output. */
  readonly lastFailure: JournalEntry | undefined;
  history(): Record<string, unknown>[];
  restart(request: RestartRequest & Partial<RollRequest>, watch: Watcher): Promise<object>;
  rollback(watch: Watcher, allowFewerListeners?: boolean): Promise<object>;
  scale(slots: number, dropState?: boolean): Promise<object>;
  stop(): Promise<void>;
  /** Opens the output file anew. */
  reopenOutput(): Promise<object>;
  upgradeSoon(onFailure: (error: MoultError) => void): Promise<object>;
}

/** Answers what an operator asks over a channel; each question gets one result. */
export function serveOperator(channel: Channel, supervisor: Operated): void {
  const answer = (work: Promise<object>) => {
    work
      .then((value) => channel.send({ type: 'result', ok: true, value: value as Record<string, unknown> }))
      .catch((error) => {
        // Also an answer that is too long for whoever asked.
        const report = asMoultError(error, 'MOULT_HANDOVER_ABORTED').report();
        channel.send({ type: 'result', ok: false, error: report });
      });
  };
  const watch = (event: StageEvent) => {
    try {
      channel.send({ type: 'event', event: { ...event } });
    } catch {
      // It has more facts than an older command takes; the result tells the end.
    }
  };
  channel.on('status', ({ measure, config }) => answer(supervisor.status(measure, config)));
  channel.on('metrics', () => answer(supervisor.metrics().then((text) => ({ text }))));
  channel.on('dashboard', () => answer(supervisor.dashboard().then((link) => ({ link }))));
  channel.on('watch', () => {
    const tell = (entry: JournalEntry) => channel.send({ type: 'event', event: { type: 'fact', ...entry } });
    if (supervisor.lastFailure !== undefined) tell(supervisor.lastFailure);
    channel.closed.then(supervisor.watch(tell));
    answer(Promise.resolve({}));
  });
  channel.on('history', () => answer(Promise.resolve({ restarts: supervisor.history() })));
  channel.on('stop', () => answer(supervisor.stop().then(() => ({}))));
  channel.on('rollback', ({ allowFewerListeners }) =>
    answer(supervisor.rollback(watch, allowFewerListeners)),
  );
  channel.on('upgrade', () => {
    // What goes wrong after the answer is told as an event; where all goes well the channel closes with the program.
    const failed = (error: MoultError) =>
      channel.send({ type: 'event', event: { type: 'upgrade-failed', ...error.report() } });
    answer(supervisor.upgradeSoon(failed));
  });
  channel.on('reopen-output', () => answer(supervisor.reopenOutput()));
  channel.on('scale', ({ slots, dropState }) => answer(supervisor.scale(slots, dropState)));
  channel.on('restart', ({ wait, surge, onFailure, ...request }) => {
    const asked = { ...request, ...(surge && { surge }), ...(onFailure && { onFailure }) };
    const done = supervisor.restart(asked, watch);
    if (wait) {
      answer(done);
      return;
    }
    done.catch(() => {});
    answer(Promise.resolve({ started: true }));
  });
}
