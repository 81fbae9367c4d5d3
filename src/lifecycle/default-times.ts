/** What a handover's times are where nobody says otherwise, under `moult run` and without it; milliseconds. */
export const DEFAULT_TIMES = {
  readyTimeoutMs: 30_000,
  drainTimeoutMs: 30_000,
  drainSpreadMs: 0,
  probationMs: 10_000,
  busyTimeoutMs: 30_000,
  stopTimeoutMs: 10_000,
} as const;
