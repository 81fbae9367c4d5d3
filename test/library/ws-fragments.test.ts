// Finding: a fragment that the service sends while the WebSocket stands still begins or continues the wrong message.
import assert from 'node:assert/strict';
import { describe } from 'node:test';
import type { WebSocket } from 'ws';
import { tidy } from '../support/tidy.js';
import { client, generations, moved, type WebSocketSide } from './ws-generations.js';

function first({ wss }: WebSocketSide): WebSocket {
  const [ws] = wss.clients;
  assert.ok(ws !== undefined);
  return ws;
}

describe('a message in fragments', () => {
  for (const compressed of [false, true]) {
    const server = compressed ? { server: { perMessageDeflate: { threshold: 0 } } } : {};
    const options = compressed ? { perMessageDeflate: true } : {};
    tidy(
      `that begins while the WebSocket stands still goes on in the successor (${compressed})`,
      async (later) => {
        const { a, b, outflow } = await generations(later, server);
        const { received, receives, events } = await client(later, a, options);
        const inside = first(a);
        outflow.start();
        inside.send('one, ', { fin: false });
        await moved(outflow, b, 1);
        first(b).send('two');
        await receives('one, two').catch((error) =>
          assert.fail(`${error.message} ${JSON.stringify({ received, events })}`),
        );
        assert.deepEqual(events, []);
      },
    );

    tidy(`that ends while the WebSocket stands still is whole (${compressed})`, async (later) => {
      const { a, b, outflow } = await generations(later, server);
      const { received, receives, events } = await client(later, a, options);
      const inside = first(a);
      inside.send('one, ', { fin: false });
      await new Promise((go) => setTimeout(go, 50));
      outflow.start();
      inside.send('two');
      await moved(outflow, b, 1);
      await receives('one, two').catch((error) =>
        assert.fail(`${error.message} ${JSON.stringify({ received, events })}`),
      );
      first(b).send('three');
      await receives('three');
      assert.deepEqual(events, []);
    });
  }
});
