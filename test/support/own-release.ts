/** See scripts/own-release.mjs, which is that of the proofs too. */
export const { ownRelease } = (await import(
  new URL('../../../scripts/own-release.mjs', import.meta.url).href
)) as { ownRelease(name: string, into: string): string };
