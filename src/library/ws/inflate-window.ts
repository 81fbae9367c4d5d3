/** The most that a compressed message may refer back to. Source: RFC 7692, section 7.1.2: a window of 2^15 bytes. */
const WINDOW_BYTES = 32 * 1024;
const FIRST_BYTES = 1024;

/** The last 32 KiB that a stream was inflated to: all that another inflater needs to go on with the stream. */
export class InflateWindow {
  #bytes = Buffer.alloc(0);
  #length = 0;

  /** Begins with what another window held. */
  constructor(before: Uint8Array = new Uint8Array(0)) {
    this.add(before);
  }

  /** Adds what was inflated; it is copied, for the service may change it. */
  add(inflated: Uint8Array): void {
    const added = inflated.subarray(Math.max(0, inflated.length - WINDOW_BYTES));
    if (added.length === 0) return;
    this.#makeRoom(added.length);
    this.#bytes.set(added, this.#length);
    this.#length += added.length;
  }

  /** What it holds, at most 32 KiB. It is valid until the next {@link add}. */
  get bytes(): Buffer {
    return this.#bytes.subarray(Math.max(0, this.#length - WINDOW_BYTES), this.#length);
  }

  // Twice the window, so that it is moved to the front only once in a window.
  #makeRoom(bytes: number): void {
    if (this.#length + bytes <= this.#bytes.length) return;
    const kept = this.bytes;
    const wanted = Math.max(FIRST_BYTES, 2 * (kept.length + bytes));
    const size = Math.min(2 * WINDOW_BYTES, wanted);
    const target = size > this.#bytes.length ? Buffer.allocUnsafeSlow(size) : this.#bytes;
    kept.copy(target, 0);
    this.#bytes = target;
    this.#length = kept.length;
  }
}
