import { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';

/** What a request said before its body, as plain data. */
export interface RequestHead {
  readonly method: string;
  readonly url: string;
  readonly httpVersion: string;
  /** Names and values by turns, as they came. */
  readonly rawHeaders: readonly string[];
}

export function headOf(request: IncomingMessage): RequestHead {
  const { method = 'GET', url = '/', httpVersion, rawHeaders } = request;
  return { method, url, httpVersion, rawHeaders };
}

interface Insides {
  /** Source: node lib/_http_incoming.js; the parser calls it with the headers of a request. */
  _addHeaderLines(headers: readonly string[], count: number): void;
}

/** A request that was read whole in another process. It closes when the caller destroys it. */
export function requestFrom(head: RequestHead, socket: Socket): IncomingMessage {
  const request = new IncomingMessage(socket);
  const [major = 1, minor = 1] = head.httpVersion.split('.').map(Number);
  Object.assign(request, {
    method: head.method,
    url: head.url,
    httpVersion: head.httpVersion,
    httpVersionMajor: major,
    httpVersionMinor: minor,
  });
  (request as unknown as Insides)._addHeaderLines([...head.rawHeaders], head.rawHeaders.length);
  request.complete = true;
  // Not its socket: other requests may come over it.
  request._destroy = (_error, done) => done();
  return request;
}
