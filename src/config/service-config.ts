import type { WrittenOptions } from './options/run-options.js';

/** What only a config file says of a service. */
export interface ServiceKeys {
  /** What `moult run` starts: a script, or a command with its arguments, in one text or as a list. */
  command?: string | readonly string[];
  /** The folder in which it runs; relative to the file, default its folder. */
  cwd?: string;
  /** Variables of its environment; they win over those of `moult run` and of `envFile`. */
  env?: Readonly<Record<string, string | number | boolean>>;
  /** The services of this file that must be ready before this one starts; of use with `moult up`. */
  after?: string | readonly string[];
}

/** One service in a config file: every option of `moult run` by its name in camelCase, times and sizes as there (`docs/reference/config.md`). */
export type ServiceConfig = ServiceKeys & WrittenOptions;

/** A config file: one service; or several, and what holds for all of them. */
export type MoultConfig = ServiceConfig & {
  /** Several services by their names. What stands beside this key holds for each that does not say otherwise. */
  services?: Readonly<Record<string, ServiceConfig>>;
  /** Where editors find the JSON schema. */
  $schema?: string;
};
