// The bare loop, taking side: a net.Socket, reading, on each descriptor that comes.
import { Socket } from 'node:net';
import { monotonicMs } from '../../dist/os/clock.js';
import { receiveDescriptors } from '../../dist/os/sockets/descriptor-socket.js';

const RECORDS = 3;
const WAKE = 4;

/** @type {Set<Socket>} */
const taken = new Set();
let wanted = Number.POSITIVE_INFINITY;

function take() {
  for (let record = receiveDescriptors(RECORDS); record !== undefined; record = receiveDescriptors(RECORDS)) {
    for (const fd of record.descriptors) {
      const socket = new Socket({ fd, readable: true, writable: true, allowHalfOpen: true });
      socket.on('error', () => socket.destroy());
      taken.add(socket);
    }
  }
  if (taken.size >= wanted) {
    wanted = Number.POSITIVE_INFINITY;
    process.send?.({ at: monotonicMs() });
  }
}

process.on('message', (order) => {
  wanted = /** @type {{ count: number }} */ (order).count;
  process.send?.({ isReady: true });
});
// Loads libc before it counts, as moult has by then.
receiveDescriptors(RECORDS);
new Socket({ fd: WAKE, readable: true, writable: false }).on('data', take);
process.on('disconnect', () => process.exit(0));
