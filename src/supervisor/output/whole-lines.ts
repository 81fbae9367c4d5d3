/** How long the beginning of a line waits for the rest of it; a prompt has none. */
const REST_MS = 20;
/** A longer line is passed on in parts. */
const MOST_BYTES = 1024 * 1024;
const LINE_END = 0x0a;

const all = new Set<WholeLines>();
process.on('exit', flushLines);

/** Passes on what waits for its line end, everywhere: this program ends, or becomes another. */
export function flushLines(): void {
  for (const one of all) one.flush();
}

/** Passes output on in whole lines, so that those of two processes that write at the same time do not meet within a line. */
export class WholeLines {
  readonly #pass: (bytes: Buffer) => void;
  #rest: Buffer[] = [];
  #restBytes = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(pass: (bytes: Buffer) => void) {
    this.#pass = pass;
    all.add(this);
  }

  add(chunk: Buffer): void {
    const end = chunk.lastIndexOf(LINE_END) + 1;
    if (end > 0) {
      const lines = Buffer.concat([...this.#rest, chunk.subarray(0, end)]);
      this.#forget();
      this.#pass(lines);
    }
    if (end === chunk.length) return;
    this.#rest.push(chunk.subarray(end));
    this.#restBytes += chunk.length - end;
    if (this.#restBytes >= MOST_BYTES) this.flush();
    else this.#timer ??= setTimeout(() => this.flush(), REST_MS);
  }

  /** Passes on what waits. */
  flush(): void {
    const rest = Buffer.concat(this.#rest);
    this.#forget();
    if (rest.length > 0) this.#pass(rest);
  }

  /** No more comes. */
  end(): void {
    this.flush();
    all.delete(this);
  }

  #forget(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#rest = [];
    this.#restBytes = 0;
  }
}
