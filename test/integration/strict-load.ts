import assert from 'node:assert/strict';
import type { Target } from '#moult/verify/client/target.js';
import type { Load } from '#moult/verify/load.js';
import type { ClientKind } from '#moult/verify/tally/client-kind.js';
import { startLoad } from '../support/load.js';
import { PACE } from '../support/pace.js';

/** A small mixed load, so that what is shown does not depend on how fast the machine is. */
const CLIENTS = { 'kept-alive': 24, pipelined: 4, 'slow-body': 4, 'new-connection': 4 } as const;

/** Loads a service with strict clients. */
export function strictLoad(
  target: Target,
  clients: Readonly<Partial<Record<ClientKind, number>>> = CLIENTS,
): Load {
  return startLoad({ target, check: 'echo', clients, thinkMs: 20 * PACE });
}

/** Ends a load, of which nothing may have failed, been lost, or come twice. */
export async function nothingLost(load: Load): Promise<void> {
  const { total, failures } = await load.stop();
  const { failed, lost, duplicated } = total;
  assert.deepEqual(
    { failed, lost, duplicated },
    { failed: 0, lost: 0, duplicated: 0 },
    JSON.stringify(failures),
  );
  assert.ok(total.answered > 0);
}
