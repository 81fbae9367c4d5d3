/** The most bytes that the head (or the trailer) of one response may have. */
const MAX_HEAD_BYTES = 64 * 1024;
/** The most bytes of a body that are kept for a check; the rest is only counted. */
const MAX_KEPT_BODY_BYTES = 1024 * 1024;

const STATUS_LINE = /^HTTP\/1\.([01]) ([1-9]\d\d)(?: ([\t\x20-\x7e\x80-\xff]*))?$/;
const HEADER_LINE = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*$/;
const CHUNK_LINE = /^([0-9A-Fa-f]{1,12})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?$/;

/** One whole response, as it was read. */
export interface ParsedResponse {
  readonly status: number;
  /** Names in lower case; values of repeated headers are joined by ", ". */
  readonly headers: ReadonlyMap<string, string>;
  /** The body, empty unless the parser keeps bodies; at most 1 MiB of it. */
  readonly body: Buffer;
  readonly bodyBytes: number;
  /** The connection ends with this response: it said so, or its body ends with the connection. */
  readonly closes: boolean;
}

/** The bytes that came are not a well-formed HTTP/1.1 response. */
export class ResponseSyntaxError extends Error {
  override readonly name = 'ResponseSyntaxError';
}

/** What a parser is told about the exchange. */
export interface ResponseParserOptions {
  /** Every request of this connection is a HEAD, so no response has a body (default: no). */
  readonly head?: boolean;
  /** Keep the bodies for a check of their content (default: no, they are only counted). */
  readonly keepBody?: boolean;
  /** Called for each whole final response, in order; 1xx responses are read and left out. */
  readonly onResponse: (response: ParsedResponse) => void;
}

type State =
  | 'status-line'
  | 'header'
  | 'length-body'
  | 'close-body'
  | 'chunk-size'
  | 'chunk-data'
  | 'chunk-end'
  | 'trailer';

/**
 * Reads HTTP/1.1 responses from pieces of any size, and takes nothing that the grammar forbids.
 * Stricter than clients usually are: a bare line feed, a folded header, two lengths, or a length beside
 * `Transfer-Encoding` is an error. Source: RFC 9112 sections 2.2, 4, 5, 6 and 7.
 */
export class ResponseParser {
  readonly #options: ResponseParserOptions;
  #state: State = 'status-line';
  #line = '';
  #headBytes = 0;
  #minor = 1;
  #status = 0;
  #headers = new Map<string, string>();
  #left = 0;
  #body: Buffer[] = [];
  #keptBytes = 0;
  #bodyBytes = 0;
  #begun = false;
  #stopped = false;

  constructor(options: ResponseParserOptions) {
    this.#options = options;
  }

  /** Whether a response has begun and is not whole. */
  get midResponse(): boolean {
    return this.#begun;
  }

  /** Makes the parser ignore everything that follows, also the rest of the piece that it is reading. */
  stop(): void {
    this.#stopped = true;
  }

  /** Reads one piece. Throws ResponseSyntaxError at the first byte that cannot belong to a response. */
  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length && !this.#stopped) {
      this.#begun = true;
      switch (this.#state) {
        case 'length-body':
        case 'chunk-data':
        case 'close-body':
          at = this.#takeBody(chunk, at);
          break;
        default:
          at = this.#takeLine(chunk, at);
      }
    }
  }

  /**
   * Says that the server has ended the connection; completes a body that only this delimits.
   * Returns false if that cut a response short.
   */
  finish(): boolean {
    if (this.#stopped) return true;
    if (this.#state === 'close-body') this.#complete();
    return !this.#begun;
  }

  #takeLine(chunk: Buffer, from: number): number {
    const end = chunk.indexOf(10, from);
    const next = end === -1 ? chunk.length : end + 1;
    this.#headBytes += next - from;
    if (this.#headBytes > MAX_HEAD_BYTES) throw new ResponseSyntaxError('the head is too long');
    this.#line += chunk.toString('latin1', from, end === -1 ? chunk.length : end);
    if (end === -1) {
      if (this.#state === 'status-line') refuseOtherProtocol(this.#line);
      return next;
    }
    if (!this.#line.endsWith('\r')) throw new ResponseSyntaxError('a line ends without a carriage return');
    const line = this.#line.slice(0, -1);
    this.#line = '';
    this.#readLine(line);
    return next;
  }

  #readLine(line: string): void {
    switch (this.#state) {
      case 'status-line':
        this.#readStatusLine(line);
        return;
      case 'header':
        if (line === '') this.#endHead();
        else this.#readHeader(line);
        return;
      case 'chunk-size':
        this.#readChunkSize(line);
        return;
      case 'chunk-end':
        if (line !== '') throw new ResponseSyntaxError('a chunk is longer than its size');
        this.#state = 'chunk-size';
        return;
      default:
        if (line === '') this.#complete();
        else if (!HEADER_LINE.test(line)) throw new ResponseSyntaxError(`a malformed trailer: ${show(line)}`);
    }
  }

  #readStatusLine(line: string): void {
    const match = STATUS_LINE.exec(line);
    if (match === null) throw new ResponseSyntaxError(`a malformed status line: ${show(line)}`);
    this.#minor = Number(match[1]);
    this.#status = Number(match[2]);
    this.#headers = new Map();
    this.#state = 'header';
  }

  #readHeader(line: string): void {
    const match = HEADER_LINE.exec(line);
    if (match === null) throw new ResponseSyntaxError(`a malformed header: ${show(line)}`);
    const name = (match[1] ?? '').toLowerCase();
    const value = match[2] ?? '';
    const before = this.#headers.get(name);
    if (before !== undefined && name === 'content-length') throw new ResponseSyntaxError('two lengths');
    this.#headers.set(name, before === undefined ? value : `${before}, ${value}`);
  }

  #endHead(): void {
    const length = this.#headers.get('content-length');
    const encoding = this.#headers.get('transfer-encoding');
    if (length !== undefined && !/^\d{1,15}$/.test(length)) {
      throw new ResponseSyntaxError(`a malformed content-length: ${show(length)}`);
    }
    if (length !== undefined && encoding !== undefined) {
      throw new ResponseSyntaxError('both content-length and transfer-encoding');
    }
    if (this.#status === 101) throw new ResponseSyntaxError('switches protocols, which nobody asked for');
    if (this.#status < 200) {
      this.#reset();
      return;
    }
    this.#headBytes = 0;
    if (this.#options.head === true || this.#status === 204 || this.#status === 304 || Number(length) === 0) {
      this.#complete();
    } else if (encoding !== undefined) {
      if (encoding.toLowerCase() !== 'chunked') {
        throw new ResponseSyntaxError(`an unknown transfer-encoding: ${show(encoding)}`);
      }
      this.#state = 'chunk-size';
    } else if (length !== undefined) {
      this.#left = Number(length);
      this.#state = 'length-body';
    } else {
      this.#state = 'close-body';
    }
  }

  #readChunkSize(line: string): void {
    const match = CHUNK_LINE.exec(line);
    if (match === null) throw new ResponseSyntaxError(`a malformed chunk size: ${show(line)}`);
    this.#headBytes = 0;
    this.#left = Number.parseInt(match[1] ?? '', 16);
    this.#state = this.#left === 0 ? 'trailer' : 'chunk-data';
  }

  #takeBody(chunk: Buffer, from: number): number {
    const room = this.#state === 'close-body' ? chunk.length - from : this.#left;
    const next = Math.min(chunk.length, from + room);
    this.#bodyBytes += next - from;
    if (this.#options.keepBody === true && this.#keptBytes < MAX_KEPT_BODY_BYTES) {
      this.#body.push(chunk.subarray(from, next));
      this.#keptBytes += next - from;
    }
    if (this.#state === 'close-body') return next;
    this.#left -= next - from;
    if (this.#left === 0) {
      if (this.#state === 'length-body') this.#complete();
      else this.#state = 'chunk-end';
    }
    return next;
  }

  #complete(): void {
    const connection = (this.#headers.get('connection') ?? '').toLowerCase().split(/\s*,\s*/);
    const response: ParsedResponse = {
      status: this.#status,
      headers: this.#headers,
      body: this.#body.length === 1 ? (this.#body[0] ?? Buffer.alloc(0)) : Buffer.concat(this.#body),
      bodyBytes: this.#bodyBytes,
      closes:
        connection.includes('close') ||
        this.#state === 'close-body' ||
        (this.#minor === 0 && !connection.includes('keep-alive')),
    };
    this.#reset();
    this.#options.onResponse(response);
  }

  #reset(): void {
    this.#state = 'status-line';
    this.#headBytes = 0;
    this.#body = [];
    this.#keptBytes = 0;
    this.#bodyBytes = 0;
    this.#begun = false;
  }
}

// Without this a server of another protocol that sends no line end would only be found by the time-out.
function refuseOtherProtocol(start: string): void {
  const expected = 'HTTP/1.';
  const length = Math.min(start.length, expected.length);
  if (start.slice(0, length) !== expected.slice(0, length)) {
    throw new ResponseSyntaxError(`not an HTTP/1 response: ${show(start)}`);
  }
}

function show(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text);
}
