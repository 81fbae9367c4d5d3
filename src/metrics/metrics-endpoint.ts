import type { IncomingMessage, ServerResponse } from 'node:http';
import type { EndpointAddress } from '../endpoint/address.js';
import { endpointText } from '../endpoint/address.js';
import { Endpoint } from '../endpoint/endpoint.js';
import type { Exposition } from './exposition.js';

/** One Prometheus has one connection; some more for a second one, and for people who look. */
const MAX_CONNECTIONS = 16;

/** What is told of the endpoint. */
export interface EndpointLog {
  info(what: string): void;
  warn(what: string): void;
}

/** Serves metrics at `/metrics`, as long as that goes. @returns ends it. */
export function serveMetrics(address: EndpointAddress, exposition: Exposition, log: EndpointLog): () => void {
  const endpoint = new Endpoint(
    address,
    (request, response) => answer(request, response, exposition),
    {
      opened: (where) => log.info(`metrics are served at ${endpointText(where)}/metrics`),
      failed: ({ message }) =>
        log.warn(`metrics: ${message}; the service is not affected, and moult keeps trying`),
    },
    MAX_CONNECTIONS,
  );
  endpoint.open();
  exposition.sampleRegularly();
  return () => {
    endpoint.close();
    exposition.close();
  };
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  exposition: Exposition,
): Promise<void> {
  const [path] = (request.url ?? '').split('?');
  if (path !== '/metrics') {
    response.writeHead(404, { 'content-type': 'text/plain; charset=utf-8' });
    response.end('metrics are at /metrics\n');
    return;
  }
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.writeHead(405, { allow: 'GET, HEAD' });
    response.end();
    return;
  }
  const text = await exposition.text();
  response.writeHead(200, {
    'content-type': exposition.contentType,
    'content-length': Buffer.byteLength(text),
  });
  response.end(request.method === 'HEAD' ? undefined : text);
}
