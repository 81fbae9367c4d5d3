import { writeSync } from 'node:fs';
import { Writable } from 'node:stream';
import { isatty } from 'node:tty';
import { type Logger, pino } from 'pino';
import { paint } from '../terminal/paint.js';
import { tell } from '../terminal/print.js';
import { visibleLine } from '../terminal/visible.js';

let copy: (line: string) => void = () => {};

/** Gives each line of the log to this, too, from now on; as JSON. */
export function copyLog(to: (line: string) => void): void {
  copy = to;
}

/** The supervisor's log, on stderr: for people on a terminal, JSON elsewhere. It never holds a secret. */
export function supervisorLog(name: string, level: string): Logger {
  const options = { name: 'moult', level, base: { service: name, pid: process.pid } };
  // The descriptor itself: with --output another file has taken the place of the terminal.
  if (!isatty(2)) return pino(options, { write: writeLine });
  const forPeople = new Writable({
    write(line: Buffer, _, done) {
      copy(line.toString('utf8'));
      tell(lineForPeople(line.toString('utf8')));
      done();
    },
  });
  return pino(options, forPeople);
}

/** So long a reader of the log that does not read may hold up the supervisor. */
const WRITE_MS = 200;
const RETRY_MS = 5;
const sleeper = new Int32Array(new SharedArrayBuffer(4));

// A log that cannot be written, such as one on a disk that is full, costs its lines and never the service.
function writeLine(line: string): void {
  copy(line);
  let rest = Buffer.from(line, 'utf8');
  const untilMs = performance.now() + WRITE_MS;
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(2, rest));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN' || performance.now() > untilMs) return;
      Atomics.wait(sleeper, 0, 0, RETRY_MS);
    }
  }
}

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
