import { writeSync } from 'node:fs';
import { Writable } from 'node:stream';
import { isatty } from 'node:tty';
import { type Logger, pino } from 'pino';
import { lineForPeople } from '../terminal/log-line.js';
import { tell } from '../terminal/print.js';

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

/** How long a reader of the log that does not read may hold up the supervisor. */
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
