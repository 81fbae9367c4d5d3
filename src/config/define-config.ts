/**
 * What a config file of moult is written with.
 *
 * @module moult/config
 */
import type { MoultConfig } from './service-config.js';

export type { MoultConfig, ServiceConfig, ServiceKeys } from './service-config.js';

/** A config, or a function that returns it, at once or later; it is called at each start and restart. */
export type ConfigExport = MoultConfig | (() => MoultConfig | Promise<MoultConfig>);

/**
 * Returns its argument; for its types, in `moult.config.ts`.
 * @param config what the file exports as its default.
 */
export function defineConfig(config: ConfigExport): ConfigExport {
  return config;
}
