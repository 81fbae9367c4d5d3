import { closeDescriptor } from '../os/descriptors/descriptor.js';
import { isOfTree } from '../os/processes/proc-tree.js';
import { DatagramReceiver, type ReceivedDatagram } from '../os/unix-sockets/datagram-receiver.js';

/** How often to look for messages while something is waited for, */
const EAGER_MS = 20;
/** and afterwards. */
const LAZY_MS = 250;
/** As much as systemd reads. Source: systemd src/core/manager.c, NOTIFY_BUFFER_MAX. */
const MAX_BYTES = 4096;
/** At most so many messages are read in one turn; the kernel holds back who sends more. */
const MAX_IN_A_TURN = 64;
const MAX_STATUS_CHARACTERS = 200;

/** What a program says of itself by the notify protocol. */
export interface NotifyEvents {
  /** It is ready. */
  ready?: () => void;
  /** Somebody who is none of its processes spoke. */
  refused?: (pid: number) => void;
}

/**
 * Where a program says how it does, by the notify protocol of systemd: READY=1 and STATUS=. A barrier is answered
 * when what came before has been read; everything else is dropped. Source: sd_notify(3), sd_notify_barrier(3).
 */
export class NotifySocket {
  readonly #receiver: DatagramReceiver;
  readonly #said: NotifyEvents;
  #leader = 0;
  #isReady = false;
  #status: string | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** @param path of its own, which nobody else is told. */
  constructor(path: string, said: NotifyEvents) {
    this.#receiver = new DatagramReceiver(path, MAX_BYTES);
    this.#said = said;
  }

  get path(): string {
    return this.#receiver.path;
  }

  /** The last line that it said of itself. */
  get status(): string | undefined {
    return this.#status;
  }

  /** Listens from now on. @param leader the process that leads the tree. */
  listenTo(leader: number): void {
    this.#leader = leader;
    this.#look();
  }

  /** Hears no more. */
  close(): void {
    clearTimeout(this.#timer);
    this.#receiver.close();
  }

  #look(): void {
    try {
      for (let n = 0; n < MAX_IN_A_TURN; n += 1) {
        const datagram = this.#receiver.next();
        if (datagram === undefined) break;
        this.#hear(datagram);
      }
    } catch {
      // It could not be received just now: moult tries again.
    }
    // Node cannot wait for a datagram of a Unix socket without reading it, and with that loses who sent it.
    this.#timer = setTimeout(() => this.#look(), this.#isReady ? LAZY_MS : EAGER_MS).unref();
  }

  #hear({ text, sender, descriptors }: ReceivedDatagram): void {
    // One that has ended is believed: only the environment of this generation has the path.
    if (sender.pid > 0 && isOfTree(sender.pid, this.#leader) === false) this.#said.refused?.(sender.pid);
    else for (const field of text.split('\n')) this.#field(field);
    // A barrier ends when its descriptor is closed; none is kept.
    descriptors.forEach(closeDescriptor);
  }

  #field(field: string): void {
    if (field.startsWith('STATUS=')) {
      this.#status = field
        .slice('STATUS='.length)
        .replace(/\p{Cc}+/gu, ' ')
        .slice(0, MAX_STATUS_CHARACTERS);
    }
    if (field !== 'READY=1' || this.#isReady) return;
    this.#isReady = true;
    this.#said.ready?.();
  }
}
