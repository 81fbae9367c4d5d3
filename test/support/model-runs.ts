/**
 * How many random sequences a model plays, as fast-check takes it: in `npm test` the same each time, so that it tells
 * of the change at hand; with the variable others at each run.
 * @param variable of the environment that says how many, for a proof.
 */
export function modelRuns(variable: string, inTests: number): { numRuns: number; seed?: number } {
  const wanted = process.env[variable];
  return wanted === undefined ? { numRuns: inTests, seed: 1 } : { numRuns: Number(wanted) };
}
