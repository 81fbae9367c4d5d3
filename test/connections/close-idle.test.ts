import assert from 'node:assert/strict';
import type { ServerResponse } from 'node:http';
import { describe, mock } from 'node:test';
import { endIdle, endIdleGently } from '#moult/connections/close-idle.js';
import { handleOf } from '#moult/node/handle.js';
import { waitReadable } from '#moult/os/unix-sockets/unix-socket.js';
import { soon, turns, until } from '../support/events.js';
import { tidy } from '../support/tidy.js';
import { clientOf, GET, side } from './two-servers.js';

describe('the connections that ask for nothing, at a stop', () => {
  tidy('are closed; those that wait for an answer get it', async (later) => {
    const responses: ServerResponse[] = [];
    const a = await side(later, (_request, response) => responses.push(response));
    const [idle, busy] = [await clientOf(later, a), await clientOf(later, a)];
    idle.socket.write(GET);
    await until(() => responses.length === 1, 'a request');
    responses[0]?.end('one');
    await idle.receives('one');
    busy.socket.write(GET);
    await until(() => responses.length === 2, 'another request');
    endIdle(a.tracker, [a.server]);
    await soon(idle.closed, 'the end of the idle one');
    responses[1]?.end('two');
    await busy.receives('two');
  });

  for (const [how, end] of [
    ['at once', endIdle],
    ['gently', endIdleGently],
  ] as const) {
    tidy(
      `are closed ${how} also where they still waited for an answer, but not while they ask`,
      async (later) => {
        const responses: ServerResponse[] = [];
        const a = await side(later, (_request, response) => responses.push(response));
        const clients = [await clientOf(later, a), await clientOf(later, a)];
        for (const { socket } of clients) socket.write(GET);
        await until(() => responses.length === 2, 'both requests');
        mock.timers.enable({ apis: ['setTimeout'] });
        later(() => mock.timers.reset());
        end(a.tracker, [a.server]);
        for (const response of responses.splice(0)) response.end('one');
        const [rests, asks] = clients;
        for (const client of clients) await client.receives('one');
        mock.timers.tick(1000);
        await turns();
        assert.equal(a.tracker.size, 2, 'they have just come to rest');
        asks?.socket.write(GET);
        await until(() => responses.length === 1, 'another request');
        mock.timers.tick(1000);
        await soon(rests?.closed ?? Promise.reject(new Error('nobody')), 'the end of the one that rests');
        responses[0]?.end('two');
        await asks?.receives('two');
        assert.equal(a.tracker.size, 1);
        mock.timers.tick(1000);
        await turns();
        mock.timers.tick(1000);
        mock.timers.reset();
        await soon(asks?.closed ?? Promise.reject(new Error('nobody')), 'the end of the other');
      },
    );
  }

  tidy('are not those of which a request waits in the kernel', async (later) => {
    const a = await side(later, (_request, response) => response.end('answer'));
    const client = await clientOf(later, a);
    client.socket.write(GET);
    await client.receives('answer');
    const server = a.tracker.all()[0]?.socket;
    assert.ok(server !== undefined);
    const { fd } = handleOf(server) ?? { fd: -1 };
    client.socket.write(GET);
    // No turn of the event loop comes between: Node has not read it.
    waitReadable(fd, performance.now() + 5000);
    endIdle(a.tracker, [a.server]);
    await until(() => client.text().split('answer').length === 3, 'the second answer');
  });

  tidy('are those that have just come a moment later', async (later) => {
    const a = await side(later, (_request, response) => response.end('answer'));
    const [asks, silent] = [await clientOf(later, a), await clientOf(later, a)];
    await until(() => a.tracker.size === 2, 'both are accepted');
    mock.timers.enable({ apis: ['setTimeout'] });
    later(() => mock.timers.reset());
    endIdle(a.tracker, [a.server]);
    await turns();
    assert.equal(a.tracker.size, 2);
    asks.socket.write(GET);
    await asks.receives('answer');
    const { now } = performance;
    performance.now = () => now.call(performance) + 1000;
    later(() => {
      performance.now = now;
    });
    mock.timers.tick(1000);
    mock.timers.reset();
    await soon(silent.closed, 'the end of the silent one');
  });
});
