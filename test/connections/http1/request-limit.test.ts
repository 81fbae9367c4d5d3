import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { countRequests, requestsOf } from '#moult/connections/http1/request-limit.js';
import { tidy } from '../../support/tidy.js';
import { clientOf, GET, side } from '../two-servers.js';

describe('the count of requests of a connection', () => {
  tidy('is kept also when the service sets maxRequestsPerSocket after it has listened', async (later) => {
    const a = await side(later, (_request, response) => response.end('ok'));
    // As a generation does when a server listens.
    countRequests(a.server, a.tracker);
    // As services do: const server = app.listen(3000); server.maxRequestsPerSocket = 5;
    a.server.maxRequestsPerSocket = 5;
    const client = await clientOf(later, a);
    for (let i = 1; i <= 3; i += 1) {
      client.socket.write(GET);
      await client.receives('ok', i);
    }
    const [tracked] = a.tracker.all();
    assert.ok(tracked !== undefined);
    assert.equal(requestsOf(tracked), 3);
  });
});
