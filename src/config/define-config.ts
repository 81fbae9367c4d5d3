/**
 * For config files of moult.
 *
 * @module moult/config
 */
import type { MoultConfig } from './service-config.js';

export type { MoultConfig, ServiceConfig, ServiceKeys } from './service-config.js';

/** A config, or a function that returns one, which may be async; moult calls it at each start and restart. */
export type ConfigExport = MoultConfig | (() => MoultConfig | Promise<MoultConfig>);

/**
 * Returns its argument, typed, for `moult.config.ts`.
 * @param config the default export of the file.
 */
export function defineConfig(config: ConfigExport): ConfigExport {
  return config;
}
