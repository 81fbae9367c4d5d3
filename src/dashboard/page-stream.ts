import type { ServerResponse } from 'node:http';
import type { PageMessage } from './page-messages.js';
import type { WatchedServices } from './watched-services.js';

/** A page that leaves so much unread is closed, and comes again. */
const MAX_UNREAD_BYTES = 4 * 1024 * 1024;
const KEEP_ALIVE_MS = 5000;
const AGAIN_MS = 500;

/** Streams to one page all that is known, then what is new, as server-sent events, until the page goes. */
export function stream(response: ServerResponse, services: WatchedServices): void {
  response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'x-accel-buffering': 'no' });
  const send = (text: string) => {
    if (response.writableLength > MAX_UNREAD_BYTES) response.destroy();
    else response.write(text);
  };
  const tell = (message: PageMessage) => send(`data: ${JSON.stringify(message)}\n\n`);
  send(`retry: ${AGAIN_MS}\n\n`);
  tell(services.whole());
  const forget = services.onMessage(tell);
  const alive = setInterval(() => send(': alive\n\n'), KEEP_ALIVE_MS).unref();
  response.on('close', () => {
    clearInterval(alive);
    forget();
  });
}
