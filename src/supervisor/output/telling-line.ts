/** What follows what went wrong, and does not say it: frames of a stack, properties of an error, the version of Node. */
const FOLLOWS = /^(?:\s.*|[{}\])]+|Node\.js v\S+|)$/;
const FRAME = /^\s+at /;
const HEAD = /^(?:Uncaught )?[\w$.]*(?:Error|Exception)\b/;
/** A message has at most so many lines here. */
const MOST_LINES = 10;

/**
 * The line that says most of how a process ended: the last one, or where that belongs to a stack, the message above it.
 * @returns undefined where nothing was written.
 */
export function tellingLine(lines: readonly string[]): string | undefined {
  const at = lines.findLastIndex((line) => !FOLLOWS.test(line));
  if (at === -1) return lines.findLast((line) => line.trim() !== '');
  if (!FRAME.test(lines[at + 1] ?? '')) return lines[at];
  const first = Math.max(0, at - MOST_LINES);
  return lines.slice(first, at + 1).findLast((line) => HEAD.test(line)) ?? lines[at];
}
