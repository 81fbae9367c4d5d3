import { paint } from './paint.js';
import { print, rendered } from './print.js';
import { screenOf, type TextStream } from './screen.js';
import { cut } from './width.js';

const FRAMES = {
  unicode: ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'],
  ascii: ['-', '\\', '|', '/'],
} as const;
const FRAME_MS = 100;
const BACK_AND_CLEAR = '\r\x1b[K';

/**
 * One line that is written over again and again, while something is under way. It is never longer than the terminal is
 * wide, so that it is one line indeed, and the cursor is not hidden: whatever ends the process, nothing is left behind.
 * Where a line cannot be written over (no terminal, `dumb`, one that tells no size) only {@link keep} writes.
 */
export class LiveLine {
  readonly #stream: TextStream;
  #text = '';
  #frame = 0;
  #isDrawn = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(stream: TextStream = process.stderr) {
    this.#stream = stream;
  }

  /** Shows this text from now on. */
  show(text: string): void {
    this.#text = text;
    this.#timer ??= setInterval(() => this.#draw(), FRAME_MS).unref();
    this.#draw();
  }

  /** Writes a line that stays, above the live one. */
  keep(line: string): void {
    this.#clear();
    print(line, this.#stream);
  }

  /** The line goes. */
  end(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#clear();
  }

  #draw(): void {
    // Looked up each time: a terminal may lose its size while the line is shown.
    const screen = screenOf(this.#stream);
    if (!screen.live) return;
    const frames = screen.unicode ? FRAMES.unicode : FRAMES.ascii;
    this.#frame = (this.#frame + 1) % frames.length;
    const text = cut(
      rendered(this.#text, { ...screen, colours: false }).replaceAll('\n', ' '),
      screen.columns - 3,
    );
    this.#stream.write(
      `${BACK_AND_CLEAR}${rendered(`${paint.cyan(frames[this.#frame] ?? '')} ${text}`, screen)}`,
    );
    this.#isDrawn = true;
  }

  #clear(): void {
    if (!this.#isDrawn) return;
    this.#isDrawn = false;
    this.#stream.write(BACK_AND_CLEAR);
  }
}
