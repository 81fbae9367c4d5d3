// Holds WebSockets that are sent messages, and counts those: by their bytes, so that the service is measured and not the client.
import { once } from 'node:events';
import { request } from 'node:http';

const CLOSE_OPCODE = 8;
/** @type {import('node:stream').Duplex[]} */
const clients = [];
/** Why WebSockets were closed: codes, or what else was the last thing that came. @type {string[]} */
const closed = [];
let bytes = 0;
let isOver = false;

process.on('message', async (message) => {
  const { type, port, count } = /** @type {any} */ (message);
  if (type === 'open') for (let i = 0; i < count; i += 1) clients.push(await open(port));
  process.send?.({ bytes, closed, at: performance.now() });
  if (type !== 'close') return;
  isOver = true;
  for (const socket of clients) socket.destroy();
});

/** @param {number} port */
async function open(port) {
  const headers = {
    connection: 'Upgrade',
    upgrade: 'websocket',
    'sec-websocket-version': '13',
    'sec-websocket-key': 'bW91bHQgbmVlZHMgbm9uZQ==',
  };
  const upgrade = request({ host: '127.0.0.1', port, headers }).end();
  const [, socket, head] = await once(upgrade, 'upgrade');
  let last = head;
  bytes += head.length;
  socket.on('data', (/** @type {Buffer} */ chunk) => {
    bytes += chunk.length;
    last = chunk;
  });
  socket.on('error', () => {});
  socket.on('close', () => {
    if (!isOver) closed.push(reasonOf(last));
  });
  return socket;
}

/** @param {Buffer} last */
function reasonOf(last) {
  const frame = last.subarray(-4);
  const isClose = frame.length === 4 && (frame[0] ?? 0) === 0x80 + CLOSE_OPCODE;
  return isClose ? `code ${frame.readUInt16BE(2)}` : 'no closing frame';
}
