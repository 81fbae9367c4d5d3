import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { type Clients, inLoops, Tally } from './tally.js';

/** Six readers that do as browsers do: when a stream ends they ask for what came after the last event. */
export function eventStreamClients(port: number): Clients {
  const tally = new Tally();
  const last: (number | undefined)[] = [];
  return inLoops(6, tally, async (index) => {
    last[index] = await oneStream(port, last[index], tally);
    await pause(50);
  });
}

async function oneStream(port: number, after: number | undefined, tally: Tally): Promise<number | undefined> {
  const headers = after === undefined ? {} : { 'last-event-id': String(after) };
  const request = get({ host: '127.0.0.1', port, headers, agent: false });
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  let last = after;
  const stop = () => response.destroy();
  tally.isOver.signal.addEventListener('abort', stop);
  if (tally.isOver.signal.aborted) stop();
  createInterface({ input: response })
    .on('line', (line) => {
      const [field, value = ''] = line.split(/: (.*)/s);
      if (field === 'data') tally.answered(value);
      if (field !== 'id') return;
      if (last !== undefined && Number(value) !== last + 1) tally.failed(`event ${value} came after ${last}`);
      last = Number(value);
    })
    // The interface passes on what its input fails with.
    .on('error', () => {});
  response.on('error', () => {});
  await once(response, 'close');
  tally.isOver.signal.removeEventListener('abort', stop);
  if (!response.complete && !tally.isOver.signal.aborted) throw new Error('a stream was cut');
  return last;
}
