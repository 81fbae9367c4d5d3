import { createRequire } from 'node:module';

/** The version of this package. */
export const MOULT_VERSION = (createRequire(import.meta.url)('moult/package.json') as { version: string })
  .version;
