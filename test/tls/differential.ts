import assert from 'node:assert/strict';
import { NodeProtection } from '#moult/tls/records/node-protection.js';
import type { Later } from '../support/tidy.js';
import type { KnownListener } from './move-here.js';
import { type Outcome, play, type Side } from './play-plan.js';
import { randomPlan } from './random-plan.js';

/** OpenSSL has two words for a record that is too long. */
const SAME = new Map([['ERR_SSL_PACKET_LENGTH_TOO_LONG', 'ERR_SSL_ENCRYPTED_LENGTH_TOO_LONG']]);

/**
 * Has the client of a seed talk to Node's own TLS, and to the record layer, and compares everything that came of it.
 * @returns what came of it, and whether an alert could be lost to a reset on either side.
 */
export async function playBoth(
  later: Later,
  listener: KnownListener,
  seed: number,
): Promise<{ outcome: Outcome; wasReset: boolean }> {
  const plan = randomPlan(seed);
  const moved: Side = { moved: seed % 4 === 0 ? { protection: new NodeProtection() } : {} };
  const native = await play(later, listener, plan, 'node');
  const ours = await play(later, listener, plan, moved);
  const wasReset = native.alerts === undefined || ours.alerts === undefined;
  const comparable = ({ alerts, error, keyUpdates: _, ...rest }: Outcome) => ({
    ...rest,
    error: error && (SAME.get(error) ?? error),
    alerts: wasReset ? undefined : alerts,
  });
  assert.deepEqual(comparable(ours), comparable(native), `seed ${seed}`);
  // OpenSSL answers with its next data, and each request; one answer to all that came before is enough.
  const requests = plan.steps.filter((step) => step.kind === 'key update' && step.request === 1).length;
  const hasAll = ours.error === undefined && !plan.steps.some(({ kind }) => kind === 'changed');
  assert.ok(
    ours.keyUpdates <= requests,
    `seed ${seed}: ${ours.keyUpdates} key updates for ${requests} requests`,
  );
  if (hasAll && requests > 0 && plan.steps[0]?.kind === 'key update' && plan.steps[0].request === 1)
    assert.ok(ours.keyUpdates > 0, `seed ${seed}: no answer to a request`);
  return { outcome: ours, wasReset };
}
