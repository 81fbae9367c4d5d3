import { setTimeout as pause } from 'node:timers/promises';
import { type Load, type LoadOptions, type LoadReport, startLoad } from './load.js';
import type { RestartOutcome, ServiceUnderTest } from './moult/service-under-test.js';
import type { Counts } from './tally/tally.js';

/** How to verify a service. */
export interface VerifyOptions {
  readonly service: ServiceUnderTest;
  /** The load; its target is the service's. */
  readonly load?: Omit<LoadOptions, 'target'>;
  /** Restarts, one after the other (default: 20). */
  readonly restarts?: number;
  /** Steady state before the first restart, in milliseconds (default: 2,000). */
  readonly warmUpMs?: number;
  /** Steady state after each restart, in milliseconds (default: 500). */
  readonly steadyMs?: number;
  /** Whether restart number n (from 1) may fail without counting as a failure (default: none may). */
  readonly expectBroken?: boolean | ((restart: number) => boolean);
  /** Ends the verification early; the report is of what was done. */
  readonly signal?: AbortSignal;
  readonly onEvent?: (event: VerifyEvent) => void;
}

/** What happens during a verification, in this order. */
export type VerifyEvent =
  | { readonly type: 'load'; readonly load: Load }
  | { readonly type: 'restarting'; readonly restart: number; readonly of: number; readonly total: Counts }
  | {
      readonly type: 'restarted';
      readonly record: VerifiedRestart;
      readonly of: number;
      readonly total: Counts;
    }
  | { readonly type: 'finishing'; readonly total: Counts };

/** One restart under load. */
export interface VerifiedRestart {
  /** From 1. */
  readonly restart: number;
  /** When it was asked for, in milliseconds since the load began. */
  readonly beginMs: number;
  /** When it reported. */
  readonly endMs: number;
  readonly outcome: RestartOutcome;
  /** It failed and was allowed to. */
  readonly expectedToFail: boolean;
}

/** What a verification found. */
export interface VerifyResult {
  /** Nothing failed, nothing was lost, nothing came twice, and every restart went as expected. */
  readonly ok: boolean;
  /** It was ended early by the signal. */
  readonly interrupted: boolean;
  readonly restarts: readonly VerifiedRestart[];
  readonly load: LoadReport;
  /** Connections by slot before the first restart and after each, where the service runs in slots. */
  readonly connectionsBySlot?: readonly (readonly number[])[];
}

/**
 * Drives a service with the strict load, restarts it again and again, and reports; does not stop the service.
 * Rejects with what `restart()` throws, after the load has been stopped.
 */
export async function verify(options: VerifyOptions): Promise<VerifyResult> {
  const restarts = options.restarts ?? 20;
  const warmUpMs = options.warmUpMs ?? 2_000;
  const steadyMs = options.steadyMs ?? 500;
  const { service, signal } = options;
  const load = startLoad({
    rampMs: Math.min(500, warmUpMs / 4),
    settleMs: Math.min(1_000, warmUpMs / 2),
    ...options.load,
    target: service.target,
  });
  const tell = options.onEvent ?? (() => {});
  const records: VerifiedRestart[] = [];
  const shares: (readonly number[])[] = [];
  const look = async () => {
    const share = await service.connectionsBySlot?.();
    if (share !== undefined && share.length > 0) shares.push(share);
  };
  let report: LoadReport;
  try {
    tell({ type: 'load', load });
    await steady(warmUpMs, signal);
    await look();
    for (let restart = 1; restart <= restarts && signal?.aborted !== true; restart += 1) {
      tell({ type: 'restarting', restart, of: restarts, total: load.snapshot().total });
      const beginMs = load.nowMs();
      const outcome = await service.restart();
      const endMs = load.nowMs();
      load.markWindow(beginMs, endMs);
      const record = { restart, beginMs, endMs, outcome, expectedToFail: mayFail(options, restart) };
      records.push(record);
      tell({ type: 'restarted', record, of: restarts, total: load.snapshot().total });
      await steady(steadyMs, signal);
      if (shares.length > 0) await look();
    }
    tell({ type: 'finishing', total: load.snapshot().total });
  } finally {
    report = await load.stop();
  }
  const interrupted = records.length < restarts;
  const restarted = records.every((record) => record.outcome.ok || record.expectedToFail);
  const bySlot = shares.length === 0 ? {} : { connectionsBySlot: shares };
  const ok = report.ok && restarted && !interrupted;
  return { ok, interrupted, restarts: records, load: report, ...bySlot };
}

function mayFail(options: VerifyOptions, restart: number): boolean {
  const { expectBroken } = options;
  return typeof expectBroken === 'function' ? expectBroken(restart) : (expectBroken ?? false);
}

async function steady(ms: number, signal: AbortSignal | undefined): Promise<void> {
  await pause(ms, undefined, signal === undefined ? {} : { signal }).catch((error: unknown) => {
    if (signal?.aborted !== true) throw error;
  });
}
