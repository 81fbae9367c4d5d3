// Holds WebSockets that are sent messages, and counts those.
import WebSocket from 'ws';

/** @type {WebSocket[]} */
const clients = [];
let received = 0;
let closed = 0;

process.on('message', async (message) => {
  const { type, port, count } = /** @type {any} */ (message);
  if (type === 'open') {
    for (let i = 0; i < count; i += 1) {
      const ws = new WebSocket(`ws://127.0.0.1:${port}`, { perMessageDeflate: false });
      ws.on('message', () => {
        received += 1;
      });
      ws.on('error', () => {});
      await new Promise((resolve) => ws.once('open', resolve));
      ws.on('close', () => {
        closed += 1;
      });
      clients.push(ws);
    }
  }
  process.send?.({ received, closed, at: performance.now() });
  if (type === 'close') for (const ws of clients) ws.terminate();
});
