import { randomInt } from 'node:crypto';

/**
 * How many random sequences a model plays, as fast-check takes it: in `npm test` the same each time, so that it tells
 * of the change at hand; with the variable others at each run, or those of `MOULT_SEED`. A failure names the seed.
 * @param variable of the environment that says how many, for a proof.
 */
export function modelRuns(variable: string, inTests: number): { numRuns: number; seed: number } {
  const wanted = process.env[variable];
  if (wanted === undefined) return { numRuns: inTests, seed: 1 };
  const seed = process.env.MOULT_SEED;
  return { numRuns: Number(wanted), seed: seed === undefined ? randomInt(2 ** 31) : Number(seed) };
}
