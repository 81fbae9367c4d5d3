import { Socket } from 'node:net';
import { asMoultError, MoultError } from '../errors.js';
import { monotonicMicroseconds } from '../os/clock.js';
import { closeDescriptor, duplicate } from '../os/descriptors/descriptor.js';
import { pipe } from '../os/descriptors/pipe.js';
import { sendDatagram } from '../os/unix-sockets/datagram.js';

/** How long a message waits for a manager that has not read the ones before. */
const RETRY_MS = 10;
/** A manager reads at most 4096 bytes of a message. Source: systemd src/core/manager.c, NOTIFY_BUFFER_MAX. */
const MAX_STATUS_UNITS = 1000;

interface Waiting {
  readonly text: string;
  /** Copies of ours. */
  readonly descriptors: readonly number[];
  /** A later message of the same kind says all that this one says. */
  readonly kind: 'status' | 'extend' | 'watchdog' | undefined;
}

/**
 * Speaks to a service manager by the notify protocol of systemd. Messages arrive in the order of the calls,
 * and no call blocks. Source: sd_notify(3).
 */
export class SdNotify {
  readonly #path: string;
  readonly #onFailure: (error: MoultError) => void;
  #waiting: Waiting[] = [];
  #timer: NodeJS.Timeout | undefined;
  #hasFailed = false;

  /**
   * @param address a path, or an abstract name with `@` first.
   * @param onFailure is told the first time that a message could not be sent; it is dropped then.
   */
  constructor(address: string, onFailure: (error: MoultError) => void) {
    this.#path = address.startsWith('@') ? `\0${address.slice(1)}` : address;
    this.#onFailure = onFailure;
  }

  /** The start, or a reload, is complete. */
  ready(status: string): void {
    this.#send(['READY=1', statusField(status)]);
  }

  /** A reload begins; {@link ready} must follow, however it ends. */
  reloading(status: string): void {
    this.#send(['RELOADING=1', `MONOTONIC_USEC=${monotonicMicroseconds()}`, statusField(status)]);
  }

  /** The end begins. */
  stopping(status: string): void {
    this.#send(['STOPPING=1', statusField(status)]);
  }

  /** One line for `systemctl status`. */
  status(status: string): void {
    this.#send([statusField(status)], { kind: 'status' });
  }

  /** The reload or stop that is under way may take this much longer from now on, in milliseconds. */
  extendTimeout(ms: number): void {
    this.#send([`EXTEND_TIMEOUT_USEC=${Math.round(ms * 1000)}`], { kind: 'extend' });
  }

  /** All is well; expected within each interval of the watchdog. */
  watchdog(): void {
    this.#send(['WATCHDOG=1'], { kind: 'watchdog' });
  }

  /**
   * Another process is the main process of the unit from now on. The one that was must live until
   * {@link barrier} settles, or its end is taken for the end of the service.
   */
  mainPid(pid: number): void {
    this.#send([`MAINPID=${pid}`]);
  }

  /**
   * Has the manager keep a copy of a descriptor and pass it to the next start of the unit; where it has one
   * already, nothing happens. It drops the copy by itself once the socket is shut down.
   * @param name 1 to 255 printable ASCII characters without `:`.
   */
  store(name: string, fd: number): void {
    this.#send(['FDSTORE=1', `FDNAME=${name}`], { descriptors: [fd] });
  }

  /** Has the manager close what it keeps under this name. */
  unstore(name: string): void {
    this.#send(['FDSTOREREMOVE=1', `FDNAME=${name}`]);
  }

  /**
   * Settles when the manager has read everything that was sent before.
   * @throws MOULT_PEER_TIMEOUT
   */
  async barrier(timeoutMs: number): Promise<void> {
    const [near, far] = pipe();
    this.#send(['BARRIER=1'], { descriptors: [far] });
    closeDescriptor(far);
    // The manager closes its copy when it comes to the message; then this end has nothing more to read.
    const end = new Socket({ fd: near, readable: true, writable: false });
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => {
        end.destroy();
        reject(
          new MoultError('MOULT_PEER_TIMEOUT', `the service manager did not read within ${timeoutMs} ms`),
        );
      }, timeoutMs);
      end.once('close', () => {
        clearTimeout(timer);
        resolve();
      });
      end.on('error', () => {}).resume();
    });
  }

  /** Drops what could not be sent yet. */
  close(): void {
    clearTimeout(this.#timer);
    for (const { descriptors } of this.#waiting.splice(0)) descriptors.forEach(closeDescriptor);
  }

  #send(
    fields: readonly string[],
    { descriptors = [], kind }: { descriptors?: readonly number[]; kind?: Waiting['kind'] } = {},
  ): void {
    const text = fields.join('\n');
    if (this.#waiting.length === 0 && this.#try(text, descriptors)) return;
    if (kind !== undefined) this.#waiting = this.#waiting.filter((one) => one.kind !== kind);
    // The caller may close its own before the message is sent.
    this.#waiting.push({ text, descriptors: descriptors.map(duplicate), kind });
    this.#timer ??= setTimeout(() => this.#flush(), RETRY_MS);
  }

  #flush(): void {
    this.#timer = undefined;
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      if (!this.#try(next.text, next.descriptors)) {
        this.#timer = setTimeout(() => this.#flush(), RETRY_MS);
        return;
      }
      this.#waiting.shift();
      next.descriptors.forEach(closeDescriptor);
    }
  }

  /** @returns false when it must be tried again. */
  #try(text: string, descriptors: readonly number[]): boolean {
    try {
      return sendDatagram(this.#path, Buffer.from(text, 'utf8'), descriptors);
    } catch (error) {
      if (!this.#hasFailed) this.#onFailure(asMoultError(error, 'MOULT_SYSTEM_CALL'));
      this.#hasFailed = true;
      return true;
    }
  }
}

function statusField(status: string): string {
  // One field is one line.
  const line = status.replace(/[\p{Cc}\s]+/gu, ' ').trim();
  return `STATUS=${line.slice(0, MAX_STATUS_UNITS)}`;
}
