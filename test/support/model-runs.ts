import { randomInt } from 'node:crypto';

/**
 * How many random sequences a model plays, as fast-check takes it: in `npm test` the same each time, so that it tells
 * of the change at hand; with the variable others at each run, whose seed a failure names.
 * @param variable of the environment that says how many, for a proof.
 */
export function modelRuns(variable: string, inTests: number): { numRuns: number; seed: number } {
  const wanted = process.env[variable];
  if (wanted === undefined) return { numRuns: inTests, seed: 1 };
  return { numRuns: Number(wanted), seed: randomInt(2 ** 31) };
}
