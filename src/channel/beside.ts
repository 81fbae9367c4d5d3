import { MoultError } from '../errors.js';
import { closeDescriptor } from '../os/descriptors/descriptor.js';
import { reserve } from '../os/descriptors/descriptor-reserve.js';
import { receiveDescriptors } from '../os/sockets/descriptor-socket.js';
import type { Frame } from '../protocol/frame.js';

/** What came beside a message. */
export interface Incoming {
  readonly attachment: Buffer;
  /** Whether the kernel dropped descriptors, because this process may open no more. */
  readonly truncated: boolean;
  /** How many descriptors came. */
  readonly count: number;
  /** Takes the descriptors over; those that no handler takes are closed when it returns. */
  take(): number[];
}

/** What comes beside a message; the descriptors belong to it until they are taken. */
export function besideOf(attachment: Buffer, descriptors: number[], truncated: boolean): Incoming {
  let mine = descriptors;
  return {
    attachment,
    truncated,
    count: descriptors.length,
    take() {
      const taken = mine;
      mine = [];
      return taken;
    },
  };
}

/** Receives the descriptors beside the frames of one message after the other. */
export class Beside {
  readonly #records: number;
  #tag: number;
  #descriptors: number[] = [];
  #isTruncated = false;

  /** @param records the record socket. @param tag that of the last record that was received. */
  constructor(records: number, tag: number) {
    this.#records = records;
    this.#tag = tag;
  }

  /** The tag of the last record that was received. */
  get tag(): number {
    return this.#tag;
  }

  /** How many came since the last {@link take}. */
  get count(): number {
    return this.#descriptors.length;
  }

  /** Whether the kernel dropped some of these. */
  get isTruncated(): boolean {
    return this.#isTruncated;
  }

  /** Receives the record that belongs to a frame, if the frame speaks of one. @throws MOULT_DESCRIPTORS */
  receive({ message }: Frame): void {
    const announced = message.descriptors;
    if (announced === undefined) return;
    const receive = () => receiveDescriptors(this.#records);
    // Few, and once for each supervisor: without them the output of the service would not come back to one.
    const record = message.type === 'welcome' ? reserve.use(receive) : reserve.useToReceive(receive);
    const { descriptors = [], truncated = false } = record ?? {};
    if (descriptors.length > 0 || truncated) this.#tag += 1;
    this.#descriptors.push(...descriptors);
    this.#isTruncated ||= truncated;
    const isRight =
      record !== undefined && record.tag === this.#tag && (truncated || descriptors.length === announced);
    if (isRight) return;
    this.close();
    throw new MoultError(
      'MOULT_DESCRIPTORS',
      `expected ${String(announced)} descriptors beside ${message.type}, received ${record === undefined ? 'none' : descriptors.length}`,
    );
  }

  /** What came for one message: it belongs to the caller from then on. */
  take(attachment: Buffer): Incoming {
    const incoming = besideOf(attachment, this.#descriptors, this.#isTruncated);
    this.#descriptors = [];
    this.#isTruncated = false;
    return incoming;
  }

  /** Closes what came for a message of which the rest will not come. */
  close(): void {
    for (const fd of this.#descriptors) closeDescriptor(fd);
    this.#descriptors = [];
  }
}
