import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import { PACE } from '../support/pace.js';
import { type Clients, inLoops, Tally } from './tally.js';

const ANSWER_WITHIN_MS = 5000;

/** Four clients, each of which sends a datagram when the one before was answered. */
export function datagramClients(port: number): Clients {
  const tally = new Tally();
  const sockets = Array.from({ length: 4 }, () => createSocket('udp4'));
  const loops = inLoops(sockets.length, tally, async (index) => {
    await pause(2 * PACE);
    tally.answered(await answerTo(sockets[index] as Socket, port));
  });
  return {
    tally,
    async stop() {
      await loops.stop();
      for (const socket of sockets) socket.close();
    },
  };
}

let n = 0;

async function answerTo(socket: Socket, port: number): Promise<string> {
  n += 1;
  const sent = `datagram ${n}`;
  const answer = once(socket, 'message', { signal: AbortSignal.timeout(ANSWER_WITHIN_MS) });
  socket.send(sent, port, '127.0.0.1');
  const [message] = (await answer) as [Buffer];
  if (!String(message).startsWith(`${sent} `)) throw new Error(`expected ${sent}, received ${message}`);
  return String(message);
}
