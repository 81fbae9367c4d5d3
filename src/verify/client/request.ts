import { createHash, randomBytes } from 'node:crypto';
import type { ClientKind } from '../tally/client-kind.js';

/** What the requests of one kind look like. */
export interface RequestTemplate {
  /** Default: GET, and POST for slow-body clients. */
  readonly method?: string;
  /** Default: "/". */
  readonly path?: string;
  /** Default: none; slow-body clients send random text of 200 to 4,000 bytes. */
  readonly body?: string;
  /** More headers, as they are to be written. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** A body and what the service must say of it. */
export interface RequestBody {
  readonly data: Buffer;
  /** Hexadecimal. */
  readonly sha1: string;
}

/** A template with everything filled in. */
export interface PreparedTemplate {
  readonly method: string;
  readonly path: string;
  /** Bodies to choose from by turns; one empty body if requests have none. */
  readonly bodies: readonly RequestBody[];
  /** Whether a length is to be told: always, except for a request without body. */
  readonly hasBody: boolean;
  /** The lines of the head after the request line, without the id and the length. */
  readonly headerLines: string;
}

const SLOW_BODIES = 16;

/** Fills in what a template leaves open. Throws TypeError for a method, path or header that cannot be written. */
export function prepareTemplate(kind: ClientKind, template: RequestTemplate, host: string): PreparedTemplate {
  const method = template.method ?? (kind === 'slow-body' ? 'POST' : 'GET');
  const path = template.path ?? '/';
  if (!/^[A-Za-z]+$/.test(method))
    throw new TypeError(`method: expected a word, got ${JSON.stringify(method)}`);
  if (!/^[/*][\x21-\x7e]*$/.test(path)) {
    throw new TypeError(`path: expected a path that begins with "/", got ${JSON.stringify(path)}`);
  }
  const headers: Record<string, string> = { host, ...template.headers };
  if (kind === 'new-connection') headers.connection = 'close';
  let headerLines = '';
  for (const [name, value] of Object.entries(headers)) {
    if (!/^[\w-]+$/.test(name) || !/^[\t\x20-\x7e]*$/.test(value)) {
      throw new TypeError(
        `headers: expected a name and a printable value, got ${JSON.stringify([name, value])}`,
      );
    }
    headerLines += `${name}: ${value}\r\n`;
  }
  const bodies = bodiesOf(kind, template.body);
  return { method, path, headerLines, bodies, hasBody: bodies.some((body) => body.data.length > 0) };
}

/** The head of one request, with its id. */
export function requestHead(template: PreparedTemplate, id: string, length: number | 'chunked'): string {
  const framing = !template.hasBody
    ? ''
    : length === 'chunked'
      ? 'transfer-encoding: chunked\r\n'
      : `content-length: ${length}\r\n`;
  return `${template.method} ${template.path} HTTP/1.1\r\n${template.headerLines}x-moult-id: ${id}\r\n${framing}\r\n`;
}

/** One piece of a chunked body; an empty one is the end. */
export function chunkOf(data: Buffer): Buffer {
  if (data.length === 0) return Buffer.from('0\r\n\r\n', 'latin1');
  return Buffer.concat([
    Buffer.from(`${data.length.toString(16)}\r\n`, 'latin1'),
    data,
    Buffer.from('\r\n', 'latin1'),
  ]);
}

function bodiesOf(kind: ClientKind, body: string | undefined): RequestBody[] {
  if (body !== undefined) return [bodyOf(Buffer.from(body))];
  if (kind !== 'slow-body') return [bodyOf(Buffer.alloc(0))];
  return Array.from({ length: SLOW_BODIES }, () => {
    const bytes = 200 + Math.floor(Math.random() * 3_800);
    return bodyOf(
      Buffer.from(
        randomBytes(Math.ceil(bytes / 2))
          .toString('hex')
          .slice(0, bytes),
        'latin1',
      ),
    );
  });
}

function bodyOf(data: Buffer): RequestBody {
  return { data, sha1: createHash('sha1').update(data).digest('hex') };
}
