import type { JournalEntry } from '../lifecycle/journal-entry.js';
import { type Launched, launch } from '../os/processes/launch.js';
import { describeExit } from '../os/processes/process.js';

/** What people want to hear of; the rest of the journal is of use to a supervisor. */
const TOLD: readonly JournalEntry['event'][] = [
  'run',
  'restart',
  'confirmed',
  'undone',
  'crashed',
  'revived',
  'drained',
  'scale',
  'stop',
];
/** A program that runs for longer is ended. */
const LIMIT_MS = 30_000;
/** How long the end of the supervisor waits for what is to be handed on. */
const END_MS = 2000;
/** How many events wait while a program runs; later ones are lost, and that is told. */
const MAX_WAITING = 100;
/** What one variable of an environment may have is 128 KiB. Source: execve(2), MAX_ARG_STRLEN. */
const MAX_CHARACTERS = 30_000;
const SAID_CHARACTERS = 500;

/** Where an event program and what becomes of it are told. */
export interface EventProgramParts {
  /** A command for the shell. */
  readonly command: string;
  readonly service: string;
  readonly cwd: string;
  readonly warn: (what: string) => void;
  /** How long it may take; milliseconds, default 30 s. */
  readonly limitMs?: number;
}

/**
 * Starts a program for each event, one after another, and gives it the event as a line of JSON: on its standard input, and in
 * `MOULT_EVENT`. Nothing waits for it.
 */
export class EventProgram {
  readonly #parts: EventProgramParts;
  readonly #waiting: string[] = [];
  #running: Promise<void> | undefined;
  #child: Launched | undefined;
  #lost = 0;

  constructor(parts: EventProgramParts) {
    this.#parts = parts;
  }

  /** Something has happened. */
  tell(entry: JournalEntry): void {
    if (!TOLD.includes(entry.event)) return;
    if (this.#waiting.length >= MAX_WAITING) {
      this.#lost += 1;
      return;
    }
    this.#waiting.push(lineOf({ service: this.#parts.service, ...entry }));
    this.#running ??= this.#runAll();
  }

  /** Hands on what waits, as far as that goes soon, and ends what runs. */
  async close(): Promise<void> {
    let limit: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      limit = setTimeout(resolve, END_MS);
    });
    await Promise.race([this.#running, late]);
    clearTimeout(limit);
    this.#waiting.length = 0;
    this.#child?.kill();
  }

  async #runAll(): Promise<void> {
    for (let line = this.#waiting.shift(); line !== undefined; line = this.#waiting.shift()) {
      await this.#run(line);
      if (this.#lost > 0 && this.#waiting.length === 0) {
        this.#parts.warn(`--on-event: ${this.#lost} events were dropped because its program is too slow`);
        this.#lost = 0;
      }
    }
    this.#running = undefined;
  }

  async #run(line: string): Promise<void> {
    const { command, cwd, warn, limitMs = LIMIT_MS } = this.#parts;
    const env = { ...process.env, MOULT_EVENT: line };
    // Not by a pipe of ours: who does not read must not hold up whoever writes.
    const script = `printf '%s\\n' "$MOULT_EVENT" | {\n${command}\n}`;
    const child = launch({ command: 'sh', args: ['-c', script], cwd, env });
    child.unref();
    this.#child = child;
    let said = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        said = (said + chunk.toString('utf8')).slice(-SAID_CHARACTERS);
      });
    }
    let isLate = false;
    const limit = setTimeout(() => {
      isLate = true;
      child.kill();
    }, limitMs).unref();
    const exit = await child.exited;
    clearTimeout(limit);
    this.#child = undefined;
    // What it has left running must not keep them open.
    for (const stream of [child.stdout, child.stderr]) stream?.destroy();
    if (isLate) warn(`--on-event: its program did not exit within ${limitMs} ms and was killed`);
    else if (exit.code !== 0)
      warn(`--on-event: its program ${describeExit(exit)}: ${said.trim() || 'it wrote nothing'}`);
  }
}

// Of one that is too long the output of what failed is left out, and then all but its name.
function lineOf(event: { readonly service: string } & JournalEntry): string {
  const { service, at, event: name, generation } = event;
  const { output, cut, ...rest } = event;
  for (const one of [event, rest, { service, at, event: name, generation }]) {
    const line = JSON.stringify(one);
    if (line.length <= MAX_CHARACTERS) return line;
  }
  return JSON.stringify({ service, at, event: name });
}
