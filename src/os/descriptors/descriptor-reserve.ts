import { AF_UNIX, libc, SOCK_CLOEXEC, SOCK_DGRAM } from '../libc.js';
import { closeDescriptor } from './descriptor.js';

/** How often to check whether a reserve that could not be filled can be filled now. */
const REFILL_MS = 1000;

/**
 * Descriptors that are kept open only so that they can be closed: what must work in a process that may open no
 * more is done in their place. Sockets, because they need no file system.
 */
export class DescriptorReserve {
  #kept: number[] = [];
  #size = 0;
  #isForReceived = false;
  #inUse = 0;
  #timer: NodeJS.Timeout | undefined;

  /** How many are kept now. */
  get kept(): number {
    return this.#kept.length;
  }

  /**
   * Keeps so many from now on, as far as there is room.
   * @param isForReceived whether what is received may take their place, too: not where that may be thousands.
   */
  keep(size: number, isForReceived = false): void {
    this.#size = size;
    this.#isForReceived = isForReceived;
    this.#refill();
  }

  /** Does something that opens descriptors, with those in reserve free for it. It must not wait: others would take them. */
  use<T>(work: () => T): T {
    if (this.#size === 0) return work();
    this.#inUse += 1;
    for (const fd of this.#kept.splice(0)) closeDescriptor(fd);
    try {
      return work();
    } finally {
      this.#inUse -= 1;
      this.#refill();
    }
  }

  /** The same for what receives descriptors. */
  useToReceive<T>(work: () => T): T {
    return this.#isForReceived ? this.use(work) : work();
  }

  /** Keeps none any more. */
  close(): void {
    this.#size = 0;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const fd of this.#kept.splice(0)) closeDescriptor(fd);
  }

  #refill(): void {
    if (this.#inUse > 0) return;
    while (this.#kept.length < this.#size) {
      const fd = libc().socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
      if (fd < 0) break;
      this.#kept.push(fd);
    }
    if (this.#kept.length >= this.#size || this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#refill();
    }, REFILL_MS).unref();
  }
}

/** The reserve of this process. It keeps none until it is told to. */
export const reserve = new DescriptorReserve();
