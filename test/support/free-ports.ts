/** See scripts/free-ports.mjs, which is that of the proofs too. */
export const { freePort, freePorts } = (await import(
  new URL('../../../scripts/free-ports.mjs', import.meta.url).href
)) as { freePort(): Promise<number>; freePorts(count: number): Promise<number[]> };
