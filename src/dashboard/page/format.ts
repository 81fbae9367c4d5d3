const KILO = 1000;
const MIB = 1024 * 1024;

/** A duration for people: `84 ms`, `1.2 s`, `4 min`, `3 h`, `2 d`. */
export function duration(ms: number): string {
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  if (ms < KILO) return `${Math.round(ms)} ms`;
  const seconds = ms / KILO;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86_400)} d`;
}

/** A time of the day, in the reader's zone. */
export function clock(at: number): string {
  return new Date(at).toLocaleTimeString();
}

/** A date and time, in the reader's zone. */
export function dateTime(at: number): string {
  return new Date(at).toLocaleString();
}

/** A number of bytes as MiB. */
export function mebibytes(bytes: number | undefined): string {
  return bytes === undefined ? '–' : `${Math.round(bytes / MIB)} MiB`;
}

/** A figure, or a dash where it is not known. */
export function figure(value: number | undefined, digits = 0): string {
  return value === undefined ? '–' : value.toLocaleString(undefined, { maximumFractionDigits: digits });
}

/** A text of the journal; nothing for what is none. */
export function text(value: unknown): string {
  return typeof value === 'string' || typeof value === 'number' ? String(value) : '';
}
