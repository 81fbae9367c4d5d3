/** So many bytes may be on their way: what a peer has not read yet is limited, and connections are on their way, too. */
const WINDOW_BYTES = 4 * 1024 * 1024;

/** How much was sent to another process, and how much of it that has said it has read. */
export class UnreadBytes {
  #sent = 0;
  #read = 0;
  #room: (() => void) | undefined;
  #whenRead: (() => void) | undefined;

  /** All bytes that were sent. */
  get sent(): number {
    return this.#sent;
  }

  /** Whether all is read. */
  get isRead(): boolean {
    return this.#read >= this.#sent;
  }

  /** Whether more may be sent. */
  get hasRoom(): boolean {
    return this.#sent - this.#read < WINDOW_BYTES;
  }

  /** So many more were sent. */
  add(bytes: number): void {
    this.#sent += bytes;
  }

  /** The other side has read so many more. @returns how many in all. */
  wasRead(bytes: number): number {
    this.#read = Math.min(this.#sent, this.#read + bytes);
    this.#makeRoom();
    if (this.isRead) this.#whenRead?.();
    return this.#read;
  }

  /** Waits until the other side has read something, or never will. */
  roomMade(): Promise<void> {
    return new Promise((resolve) => {
      this.#room = resolve;
    });
  }

  /** Waits until the other side has read all, never will, or the time is over. */
  allRead(withinMs: number): Promise<void> {
    if (this.isRead) return Promise.resolve();
    return new Promise((resolve) => {
      const limit = setTimeout(resolve, withinMs);
      this.#whenRead = () => {
        clearTimeout(limit);
        resolve();
      };
    });
  }

  /** The other side reads no more, or nothing more is sent. */
  stop(): void {
    this.#makeRoom();
    this.#whenRead?.();
  }

  #makeRoom(): void {
    const room = this.#room;
    this.#room = undefined;
    room?.();
  }
}
