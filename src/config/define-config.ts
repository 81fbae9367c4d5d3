/**
 * What a config file of moult is written with.
 *
 * @module moult/config
 */
import type { MoultConfig } from './service-config.js';

export type { WrittenOptions } from './run-options.js';
export type { MoultConfig, ServiceConfig, ServiceKeys } from './service-config.js';

/**
 * Returns its argument; for its types, in `moult.config.ts`.
 * @param config the config, or a function that returns it, at once or later; it is called at each start and restart.
 */
export function defineConfig<T extends MoultConfig | (() => MoultConfig | Promise<MoultConfig>)>(
  config: T,
): T {
  return config;
}
