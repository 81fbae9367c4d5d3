// Without pino: commands that only show a line of the log need not load it.
import { paint } from './paint.js';
import { visibleLine } from './visible.js';

/** What pino notes beside the message, and a person need not read. */
const UNSHOWN = new Set(['level', 'time', 'pid', 'name', 'service', 'slot', 'msg', 'err']);

/** A line of the log as a person reads it: `INFO: moult: generation 1 serves`. */
export function lineForPeople(json: string): string {
  const { level, msg, err, ...more } = JSON.parse(json) as Record<string, unknown>;
  const facts = Object.entries(more)
    .filter(([name]) => !UNSHOWN.has(name))
    .map(([name, value]) => `\n    ${visibleLine(name)}: ${visibleLine(JSON.stringify(value))}`);
  const stack = (err as { stack?: unknown } | undefined)?.stack;
  const trace = typeof stack === 'string' ? `\n    ${stack.split('\n').join('\n    ')}` : '';
  // Further lines of a message are indented: none can pass for a line of ours.
  const text = String(msg ?? '')
    .trimEnd()
    .split('\n')
    .join('\n    ');
  return `${labelOf(Number(level))}: moult: ${text}${facts.join('')}${trace}`;
}

// Source: pino's documentation, "logger.levels".
function labelOf(level: number): string {
  if (level >= 60) return paint.red('FATAL');
  if (level >= 50) return paint.red('ERROR');
  if (level >= 40) return paint.yellow('WARN');
  return level >= 30 ? paint.green('INFO') : paint.dim('DEBUG');
}
