import fs from 'node:fs';

/** As Node has it: a service keeps a copy of what its streams write, and of what others write by `fs.writeSync` (node/output-hook.ts). */
const { writeSync } = fs;

/** How often to try again to write to a disk that was full. */
const AGAIN_MS = 200;
/** What the system says of a disk that has no room, of a limit that is reached, or of a reader that is late: it may pass. */
const MAY_PASS = new Set(['ENOSPC', 'EDQUOT', 'EFBIG', 'EAGAIN', 'EINTR']);
const LINE_END = 0x0a;

type Done = (error?: Error | null) => void;

/** How {@link WholeWrites} treats a disk that is full. */
export interface FullDisk {
  /** Called once for each time when there is no room. */
  readonly onFull?: (error: NodeJS.ErrnoException) => void;
  /** How many bytes wait now, all in all; where it is more than so many, they are dropped, and how many lines is written later. */
  readonly waiting?: () => number;
  readonly mostWaiting?: number;
}

/**
 * Writes to a file, each part whole and in order: where the disk is full the part waits until there is room, and what comes
 * behind it waits in its stream. Knows whether the last line has its end.
 */
export class WholeWrites {
  readonly #fd: () => number;
  readonly #full: FullDisk;
  #held: { bytes: Buffer; readonly done: Done } | undefined;
  #isAtLineEnd = true;
  #isFull = false;
  #dropped = 0;
  #exchange: { readonly work: () => void; isLate: boolean } | undefined;

  /** @param fd asked for each part, so that the file can be exchanged between two lines. */
  constructor(fd: () => number, full: FullDisk = {}) {
    this.#fd = fd;
    this.#full = full;
  }

  /** Writes one part; one at a time. @param done is called when all of it is written, or can never be. */
  write(bytes: Buffer, done: Done): void {
    this.#held = { bytes, done };
    this.#go(true);
  }

  /** Tries once more what waits: this process ends. */
  flush(): void {
    if (this.#held !== undefined) this.#go(false);
  }

  /**
   * Calls this when the last line has its end, within this call where it has it.
   * @param limitMs after so long it is called all the same, as a prompt may never have an end; but never within a part that waits.
   */
  betweenLines(work: () => void, limitMs: number): void {
    const before = this.#exchange;
    const all = () => {
      before?.work();
      work();
    };
    if (this.#isAtLineEnd) {
      this.#exchange = undefined;
      all();
      return;
    }
    const exchange = { work: all, isLate: false };
    this.#exchange = exchange;
    setTimeout(() => {
      exchange.isLate = true;
      if (this.#exchange === exchange && this.#held === undefined) this.#exchangeNow();
    }, limitMs).unref();
  }

  #exchangeNow(): void {
    const work = this.#exchange?.work;
    this.#exchange = undefined;
    work?.();
  }

  #go(mayWait: boolean): void {
    const held = this.#held;
    if (held === undefined) return;
    try {
      this.#tellDropped();
      while (held.bytes.length > 0) held.bytes = held.bytes.subarray(this.#some(held.bytes));
    } catch (error) {
      this.#failed(error as NodeJS.ErrnoException, held, mayWait);
      return;
    }
    this.#isFull = false;
    this.#held = undefined;
    if (this.#isAtLineEnd || this.#exchange?.isLate) this.#exchangeNow();
    held.done();
  }

  #some(bytes: Buffer): number {
    const count = writeSync(this.#fd(), bytes);
    if (count > 0) this.#isAtLineEnd = bytes[count - 1] === LINE_END;
    return count;
  }

  #tellDropped(): void {
    if (this.#dropped === 0) return;
    const start = this.#isAtLineEnd ? '' : '\n';
    let told = Buffer.from(`${start}[moult: ${this.#dropped} lines were not written: the disk was full]\n`);
    while (told.length > 0) told = told.subarray(this.#some(told));
    this.#dropped = 0;
  }

  #failed(error: NodeJS.ErrnoException, held: { bytes: Buffer; done: Done }, mayWait: boolean): void {
    if (!MAY_PASS.has(error.code ?? '')) {
      this.#held = undefined;
      held.done(error);
      return;
    }
    const { onFull, waiting, mostWaiting = Number.POSITIVE_INFINITY } = this.#full;
    if (!this.#isFull && error.code !== 'EAGAIN') onFull?.(error);
    this.#isFull = true;
    if (waiting !== undefined && waiting() > mostWaiting) {
      this.#dropped += held.bytes.filter((byte) => byte === LINE_END).length;
      this.#held = undefined;
      held.done();
      return;
    }
    // It keeps no process alive that has nothing else to do: that one tries once more at its end.
    if (mayWait) setTimeout(() => this.#go(true), AGAIN_MS).unref();
  }
}
