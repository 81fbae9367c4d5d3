import { type Server as HttpServer, type IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { betweenRequests, giveSecuredToServer, giveToServer, isPlainHttp } from './http1.js';
import { readAgain, stopReading } from './standstill.js';

/*
 * What moult knows of a response in progress: how to tell that all that was written of it has reached the socket, and
 * how to make one anew that goes on with its body. Source: node lib/_http_outgoing.js, lib/_http_server.js.
 */

interface Insides {
  _header: string | null;
  _headerSent: boolean;
  _hasBody: boolean;
  _last: boolean;
  _contentLength: number | null;
  _removedConnection: boolean;
  _removedContLen: boolean;
  _removedTE: boolean;
  chunkedEncoding: boolean;
  outputSize: number;
}

const FLAGS = [
  '_hasBody',
  '_last',
  '_contentLength',
  '_removedConnection',
  '_removedContLen',
  '_removedTE',
] as const;

/** Where a response stands, as plain data. */
export interface ResponseState {
  /** The head as it was sent. */
  readonly header: string;
  readonly statusCode: number;
  readonly statusMessage: string;
  readonly shouldKeepAlive: boolean;
  readonly chunkedEncoding: boolean;
  readonly flags: Readonly<Record<string, unknown>>;
}

function insidesOf(response: ServerResponse): Insides {
  return response as unknown as Insides;
}

/**
 * Whether another process could go on with the body of a response: its head is sent, nothing of it is held back above
 * its socket, it is the only one of its connection, and no part of another request has come.
 */
export function isBetweenWrites(response: ServerResponse, server: HttpServer): boolean {
  const { _headerSent, outputSize } = insidesOf(response);
  const { socket } = response;
  if (socket === null || response.writableEnded || response.destroyed) return false;
  const isAlone = (socket as Socket & { _httpMessage?: unknown })._httpMessage === response;
  if (!_headerSent || outputSize > 0 || response.writableCorked > 0 || !isAlone) return false;
  const early = earlyOf.get(response);
  return (
    response.req.complete && (early === undefined ? betweenRequests(server).has(socket) : early.length === 0)
  );
}

export function stateOfResponse(response: ServerResponse): ResponseState {
  const insides = insidesOf(response);
  return {
    header: insides._header ?? '',
    statusCode: response.statusCode,
    statusMessage: response.statusMessage,
    shouldKeepAlive: response.shouldKeepAlive,
    chunkedEncoding: insides.chunkedEncoding,
    flags: Object.fromEntries(FLAGS.map((name) => [name, insides[name]])),
  };
}

/** What has come behind a response that was made here for another process's. */
const earlyOf = new WeakMap<ServerResponse, Buffer[]>();

/**
 * A response that goes on with its body on this socket. When it has ended, the server has the connection as if it had
 * accepted it, or the connection ends where the response had said so. The next request waits until then.
 */
export function responseFrom(
  state: ResponseState,
  request: IncomingMessage,
  socket: Socket,
  server: HttpServer,
): ServerResponse {
  const response = new ServerResponse(request);
  response.statusCode = state.statusCode;
  response.statusMessage = state.statusMessage;
  response.shouldKeepAlive = state.shouldKeepAlive;
  Object.assign(response, state.flags, {
    _header: state.header,
    _headerSent: true,
    chunkedEncoding: state.chunkedEncoding,
  });
  const early: Buffer[] = [];
  earlyOf.set(response, early);
  const hear = (chunk: Buffer) => {
    // The rest of the next request waits in the kernel.
    if (early.push(chunk) === 1) stopReading(socket);
  };
  const end = () => socket.end();
  const fail = () => socket.destroy();
  const close = () => request.destroy();
  const leave = () => {
    socket.off('data', hear).off('end', end).off('error', fail).off('close', close);
  };
  socket.on('data', hear).on('end', end).on('error', fail).on('close', close);
  response.assignSocket(socket);
  response.once('finish', () => {
    response.detachSocket(socket);
    leave();
    request.destroy();
    if (state.shouldKeepAlive && !state.flags._last) {
      const first = early.length > 0 ? Buffer.concat(early) : undefined;
      if (isPlainHttp(server)) giveToServer(server, socket, first);
      else giveSecuredToServer(server, socket, first);
      if (early.length > 0) readAgain(socket);
      return;
    }
    socket.on('error', fail);
    socket.destroySoon();
  });
  return response;
}
