import type { StreamHandle } from '../../node/handle.js';
import { sendNow } from '../../os/sockets/send-now.js';
import { CLOSE_NOTIFY, FATAL, WARNING } from '../records/alerts.js';
import { bytesOf, type Chunk, Plaintext, type RecordWriter } from '../records/record-writer.js';
import { giveSlab, takeSlab } from '../records/slabs.js';

/** What a stream wants to be told when a write is over. */
export type Done = (error?: Error | null) => void;

/** The socket to which records go. */
export interface Wire {
  /** Closed by {@link RecordSender.close}. */
  readonly handle: StreamHandle;
  /** Writes behind all that it was given before. */
  write(records: Buffer, done: Done): void;
  /** Begins the socket's time-out anew, as a write does. */
  refreshTimeout(): void;
}

/**
 * Sends what is written on a connection, as records. An object of its own: sockets come in many shapes, for which V8 looks
 * each member up; that cost a small response 3 %.
 */
export class RecordSender {
  readonly writer: RecordWriter;
  readonly #wire: Wire;
  #isOpen = true;
  /** Records that the kernel has not taken yet. */
  #unsent = 0;
  #isSending = false;
  #hasSentClose = false;
  #isAnswering = false;
  #owesAnswer = false;
  #plainBytes = 0;

  constructor(writer: RecordWriter, wire: Wire) {
    this.writer = writer;
    this.#wire = wire;
  }

  /** How much of what was written the kernel has taken, in bytes. */
  get plainBytes(): number {
    return this.#plainBytes;
  }

  /** Whether nothing is under way, and the end was not said. */
  get isAtRest(): boolean {
    if (!this.#isOpen || this.#unsent > 0 || this.#isSending || this.#owesAnswer) return false;
    return this.#wire.handle.writeQueueSize === 0 && !this.#hasSentClose;
  }

  /** Sends data; one call at a time. */
  send(chunks: readonly Chunk[], done: Done): void {
    const length = bytesOf(chunks);
    this.#answerOwed();
    if (length === 0) done();
    else if (length <= this.writer.maxSend) this.#sendOne(chunks, length, done);
    else this.#sendMany(new Plaintext(chunks), this.#whileSending(length, done));
  }

  /** Says close_notify, once. */
  sayClose(): void {
    if (!this.#isOpen || this.#hasSentClose) return;
    this.#hasSentClose = true;
    this.#transmit(this.writer.alert(WARNING, CLOSE_NOTIFY), () => {});
  }

  /** Tells the client that it has broken the connection. */
  sayAlert(description: number): void {
    if (this.#isOpen && !this.#hasSentClose) this.#transmit(this.writer.alert(FATAL, description), () => {});
  }

  /** One answer at a time waits for the kernel: it is the answer to all that came before it. */
  answerKeyUpdate(): void {
    if (this.#isAnswering) this.#owesAnswer = true;
    else this.#sendKeyUpdate();
  }

  /** Sends nothing any more, and leaves nothing of the key. */
  close(): void {
    this.#isOpen = false;
    this.writer.forget();
  }

  #whileSending(length: number, done: Done): Done {
    this.#isSending = true;
    return (error) => {
      this.#isSending = false;
      if (!error) this.#plainBytes += length;
      done(error);
    };
  }

  /** One record, which the kernel mostly takes at once: then it costs nothing but the call. */
  #sendOne(chunks: readonly Chunk[], length: number, done: Done): void {
    const { memory, end } = this.writer.one(chunks, length);
    // Records that wait go first.
    const isFirst = this.#unsent === 0 && memory.address !== 0;
    const sent = isFirst ? sendNow(this.#wire.handle.fd, memory, end) : 0;
    if (sent === end) {
      this.#plainBytes += length;
      this.#wire.refreshTimeout();
      done();
    } else if (typeof sent === 'number')
      this.#transmit(Buffer.from(memory.bytes.subarray(sent, end)), this.#whileSending(length, done));
    else done(sent);
  }

  /** Sends long data in slices: no more than one is sealed and not with the kernel. */
  #sendMany(plaintext: Plaintext, sent: Done): void {
    for (;;) {
      if (plaintext.isOver) {
        sent();
        return;
      }
      if (!this.#isOpen) {
        sent(closedError());
        return;
      }
      this.#answerOwed();
      const slab = takeSlab();
      const length = this.writer.many(plaintext, slab);
      let state: 'in this turn' | 'done' | 'later' = 'in this turn';
      this.#transmit(slab.bytes.subarray(0, length), (error) => {
        giveSlab(slab);
        if (error) {
          state = 'later';
          sent(error);
        } else if (state === 'later') this.#sendMany(plaintext, sent);
        else state = 'done';
      });
      if ((state as string) !== 'done') {
        state = 'later';
        return;
      }
    }
  }

  /** Hands records to the kernel, behind those that it was handed before. */
  #transmit(records: Buffer, done: Done): void {
    this.#unsent += 1;
    this.#wire.write(records, (error) => {
      this.#unsent -= 1;
      done(error);
    });
  }

  /** No data goes out before the answer. Source: RFC 8446, 4.6.3. */
  #answerOwed(): void {
    if (this.#owesAnswer) this.#sendKeyUpdate();
  }

  #sendKeyUpdate(): void {
    this.#owesAnswer = false;
    if (!this.#isOpen || this.#hasSentClose) return;
    this.#isAnswering = true;
    this.#transmit(this.writer.keyUpdate(), () => {
      this.#isAnswering = false;
      if (this.#isOpen) this.#answerOwed();
    });
  }
}

/** What callbacks are told whose connection was closed before their data went. */
export function closedError(): Error {
  return Object.assign(new Error('the TLS connection was closed'), { code: 'ERR_STREAM_DESTROYED' });
}
