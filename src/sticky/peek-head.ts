import { onceReadable } from '../node/http/readable.js';
import { peek } from '../os/sockets/peek.js';
import { cookieOfHead, MAX_HEAD_BYTES } from './cookie.js';

/** How long a connection on which nothing comes is waited for. */
const SILENT_MS = 10_000;
/** How long the rest of a head may take. */
const HEAD_MS = 2000;
/** How often to look for the rest. */
const LOOK_MS = 10;

/** Waits for the head of the first request of a connection, of which nothing is read, and finds a cookie in it. */
export class PeekHead {
  readonly #fd: number;
  readonly #name: string;
  readonly #tell: (value: string | undefined) => void;
  #stop: () => void = () => {};
  #limit: NodeJS.Timeout | undefined;
  #hasCome = false;
  #isOver = false;

  /** @param tell is told once: the value, or undefined where there is none, or no head in time. */
  constructor(fd: number, name: string, tell: (value: string | undefined) => void) {
    this.#fd = fd;
    this.#name = name;
    this.#tell = tell;
    this.#limit = setTimeout(() => this.decide(), SILENT_MS).unref();
    try {
      this.#stop = onceReadable(fd, () => this.#come(performance.now() + HEAD_MS));
    } catch {
      // No room for another descriptor: it is not waited for.
      setImmediate(() => this.decide());
    }
  }

  /** Waits no longer than that for a first byte. */
  hurry(withinMs: number): void {
    if (this.#isOver || this.#hasCome) return;
    clearTimeout(this.#limit);
    this.#limit = setTimeout(() => this.decide(), withinMs).unref();
  }

  /** Waits no longer: what is there says it, or nothing does. */
  decide(): void {
    if (this.#isOver) return;
    const found = cookieOfHead(peek(this.#fd, MAX_HEAD_BYTES), this.#name);
    this.#end(found === 'more' ? undefined : found.value);
  }

  #come(limitMs: number): void {
    if (this.#isOver) return;
    this.#hasCome = true;
    clearTimeout(this.#limit);
    const bytes = peek(this.#fd, MAX_HEAD_BYTES);
    const found = cookieOfHead(bytes, this.#name);
    // It has ended, or there is all that is needed, or the rest does not come.
    if (bytes.length === 0 || found !== 'more' || performance.now() > limitMs) {
      this.#end(found === 'more' ? undefined : found.value);
      return;
    }
    this.#limit = setTimeout(() => this.#come(limitMs), LOOK_MS).unref();
  }

  #end(value: string | undefined): void {
    if (this.#isOver) return;
    this.#isOver = true;
    clearTimeout(this.#limit);
    this.#stop();
    this.#tell(value);
  }
}
