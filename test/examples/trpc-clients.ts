import { setTimeout as pause } from 'node:timers/promises';
import { createTRPCClient, httpLink } from '@trpc/client';
import type { AnyTRPCRouter } from '@trpc/server';
import { PACE } from '../support/pace.js';
import { type Clients, inLoops, Tally } from './tally.js';

/** What is called of the example's router, which has no types. */
interface Calls {
  readonly hello: { query(): Promise<string> };
  readonly order: { mutate(): Promise<{ reservedBy: number | null; bookedBy: number | null }> };
}

/** One that asks and one that orders: both steps of an order must have been made by one generation that served. */
export function trpcClients(port: number): Clients {
  const tally = new Tally();
  const client = createTRPCClient<AnyTRPCRouter>({
    links: [httpLink({ url: `http://127.0.0.1:${port}` })],
  }) as unknown as Calls;
  let reserved = 0;
  const loops = inLoops(4, tally, async (index) => {
    if (index === 0) {
      await pause(2 * PACE);
      return tally.answered(await client.hello.query());
    }
    const { reservedBy, bookedBy } = await client.order.mutate();
    // One that came before the commit, and was begun after it, was never in its way.
    if (reservedBy === null) return;
    reserved += 1;
    if (reservedBy !== bookedBy) tally.failed(`an order was cut in two: ${reservedBy}, ${bookedBy}`);
  });
  return {
    tally,
    async stop() {
      await loops.stop();
      if (reserved === 0) tally.failed('no order was ever in the way of a restart');
    },
  };
}
