import { WholeWrites } from '../../os/files/whole-writes.js';

/** How much may wait for room on a full disk; more would cost the service its memory. */
const MOST_WAITING = 16 * 1024 * 1024;

type Done = (error?: Error | null) => void;

/** What a stream asks of whoever implements it. Source: Node's documentation, "Implementing a writable stream". */
interface Implementation {
  _write(chunk: Buffer | string, encoding: BufferEncoding, done: Done): void;
  _writev?(chunks: { chunk: Buffer | string; encoding: BufferEncoding }[], done: Done): void;
}

/**
 * Has an output that has become a file be written to as one: each line whole, also on a disk that is full for a while. Node
 * made the stream for the pipe that it was, and drops what a file has no room for.
 */
export class FileWrites {
  readonly #stream: Implementation;
  readonly #writes: WholeWrites;
  readonly #flush = () => this.#writes.flush();

  /** @param stream standard output or standard error, whose descriptor means a file. */
  constructor(stream: NodeJS.WriteStream & { readonly fd: 1 | 2 }) {
    const place = stream.fd;
    const own = stream as unknown as Implementation;
    this.#stream = own;
    this.#writes = new WholeWrites(() => place, {
      waiting: () => stream.writableLength,
      mostWaiting: MOST_WAITING,
    });
    own._write = (chunk, encoding, done) => this.#writes.write(bytesOf(chunk, encoding), done);
    own._writev = (chunks, done) => {
      this.#writes.write(Buffer.concat(chunks.map(({ chunk, encoding }) => bytesOf(chunk, encoding))), done);
    };
    process.on('exit', this.#flush);
  }

  /** Calls this between two lines; after so long, where the last one has no end, in it. */
  betweenLines(work: () => void, limitMs: number): void {
    this.#writes.betweenLines(work, limitMs);
  }

  /** It is no file any more. */
  end(): void {
    Reflect.deleteProperty(this.#stream, '_write');
    Reflect.deleteProperty(this.#stream, '_writev');
    process.off('exit', this.#flush);
  }
}

function bytesOf(chunk: Buffer | string, encoding: BufferEncoding): Buffer {
  return typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk;
}
