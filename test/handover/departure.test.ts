import assert from 'node:assert/strict';
import { describe } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import type { GenerationContext } from '#moult/handover/generation-context.js';
import { Departure } from '#moult/handover/predecessor/departure.js';
import { encodeFrame, FrameReader } from '#moult/protocol/frame.js';
import { StateEntries } from '#moult/state/state-entries.js';
import { Tasks } from '#moult/tasks/tasks.js';
import { bareChannel } from '../channel/pair.js';
import { GET, servedClient, side } from '../connections/two-servers.js';
import { soon, until } from '../support/events.js';
import { tidy } from '../support/tidy.js';
import { ModelListener, surroundings } from './surroundings.js';

describe('a client that the successor has no room for', () => {
  tidy('is served, and told to come anew before its connection would be cut', async (later) => {
    const a = await side(later, (_request, response) => response.end('answer'));
    const { channel, peer } = bareChannel(later);
    const listener = new ModelListener(a.server);
    const context: GenerationContext = Object.assign(
      surroundings({
        listeners: { ...(listener.registry as object), of: () => listener },
        state: new StateEntries(),
        tasks: new Tasks(undefined, { failed: () => {}, idle: () => {} }),
        epoch: 1,
        isBeingFed: () => false,
      }),
      { connections: a.tracker, moves: { http1: 'yes' as const } },
    );
    const reader = new FrameReader();
    let offers = 0;
    peer.on('data', (chunk: Buffer) => {
      for (const { message } of reader.push(chunk)) {
        if (message.type === 'connections-begin')
          peer.write(encodeFrame({ type: 'connections-adopted', batch: message.batch, pausesMs: [] }));
        if (message.type !== 'connections') continue;
        offers += 1;
        peer.write(encodeFrame({ type: 'connections-received', batch: message.batch, count: 0 }));
      }
    });
    const client = await servedClient(later, a, 'answer');
    const reports: unknown[] = [];
    const departure = new Departure(
      context,
      { servers: [a.server], datagrams: [] },
      {
        takers: [{ channel, claims: [{ name: 'a', accepts: ['http1'] }] }],
        heirs: [],
        times: { timeoutMs: 8000, spreadMs: 0 },
        flows: undefined,
        giving: undefined,
        isForGood: () => true,
        over: (report) => reports.push(report),
      },
    );
    later(() => departure.stop());
    await until(() => offers > 0, 'an offer');
    await until(() => departure.remaining()[0]?.reason.includes('no room') === true, 'the reason');
    for (let n = 2; !/Connection: close/i.test(client.text()); n += 1) {
      assert.equal(client.socket.readyState, 'open', `cut before answer ${n}`);
      client.socket.write(GET);
      await client.receives('answer', n);
      // Each answer is followed by offers, of which nobody here takes the descriptors: there is room for some hundreds.
      await pause(300);
    }
    await soon(client.closed, 'its end');
    await until(() => reports.length > 0, 'the end of the drain');
    assert.deepEqual(reports, [{ moved: 0, drained: 1, cut: [] }]);
  });
});
