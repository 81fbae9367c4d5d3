import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { IncomingMessage, ServerResponse } from 'node:http';

const STARTED = 'http.server.request.start';
const UNAVAILABLE = 503;

/**
 * From now on has the answers of HTTP/1.1 servers of this process to a path have status 503, whatever the service answers: a
 * balancer that asks there sends no more clients.
 * @returns ends that.
 */
export function answerUnready(path: string): () => void {
  const onStarted = (message: unknown) => {
    const { request, response } = message as { request: IncomingMessage; response: ServerResponse };
    if (request.url?.split('?', 1)[0] !== path) return;
    const { writeHead } = response;
    // Node itself calls it, too, where the service sets `statusCode`. Source: node lib/_http_server.js, _implicitHeader.
    response.writeHead = (_status: number, ...more: unknown[]) => {
      // A message of its own would tell another status.
      const rest = typeof more[0] === 'string' ? more.slice(1) : more;
      return writeHead.apply(response, [UNAVAILABLE, 'Service Unavailable', ...rest] as never);
    };
  };
  subscribe(STARTED, onStarted);
  return () => {
    unsubscribe(STARTED, onStarted);
  };
}
