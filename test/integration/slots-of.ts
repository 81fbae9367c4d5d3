import assert from 'node:assert/strict';
import type { GenerationStatus } from '#moult/supervisor/status.js';
import { type Supervised, until } from './supervised.js';

/** The generation that serves in each slot, in their order. */
export async function serving(service: Supervised): Promise<GenerationStatus[]> {
  const { generations } = await service.status();
  return generations.filter(({ state }) => state === 'serving');
}

/** Waits until so many slots serve, and nothing is being replaced. */
export async function whenAllServe(service: Supervised, slots: number): Promise<GenerationStatus[]> {
  return until(`${slots} slots serve`, async () => {
    const { state } = await service.status();
    const now = await serving(service);
    return state === 'serving' && now.length === slots && now;
  });
}

/** The port on which all of them listen. */
export async function portOf(service: Supervised): Promise<number> {
  const [first] = await serving(service);
  assert.ok(first?.listeners?.[0]);
  return (first.listeners[0].address as { port: number }).port;
}
