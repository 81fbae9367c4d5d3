import { once } from 'node:events';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { PACE } from '../support/pace.js';
import { type Clients, inLoops, Tally } from './tally.js';

/** Twelve clients that send lines without waiting, and heed "bye". */
export function lineClients(port: number): Clients {
  const tally = new Tally();
  return inLoops(12, tally, () => oneConnection(port, tally));
}

// Every line that was sent has its answer when the other side ends.
async function oneConnection(port: number, tally: Tally): Promise<void> {
  const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true });
  await once(socket, 'connect');
  const awaited: string[] = [];
  let isToldToGo = false;
  const ended = once(socket, 'end');
  createInterface({ input: socket }).on('line', (line) => {
    if (line === 'bye') {
      isToldToGo = true;
      return;
    }
    if (!line.startsWith(`${awaited.shift()} answered`)) tally.failed(`out of turn: ${line}`);
    tally.answered(line);
  });
  for (let n = 0; !isToldToGo && !tally.isOver.signal.aborted; n += 1) {
    awaited.push(`line ${n}`);
    socket.write(`line ${n}\n`);
    await pause(3 * PACE);
  }
  socket.end();
  await ended;
  if (awaited.length > 0) tally.failed(`not answered: ${awaited}`);
}
