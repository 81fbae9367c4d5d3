import { defaultName } from '../supervisor/releases/release.js';
import type { FileChoice } from './config-source.js';
import { findConfig, namedConfig } from './find-config.js';
import type { FileService } from './read-config.js';
import { type ResolvedConfig, resolveConfig } from './resolve-config.js';

/** A service of a config file as commands know it. */
export interface ConfiguredService {
  /** By which it runs. */
  readonly name: string;
  /** Its key under `services`; none where the file has one service only. */
  readonly key: string | undefined;
  /** The names of those that are ready before it starts. */
  readonly after: readonly string[];
  readonly resolved: ResolvedConfig;
}

/** A config file and its services, in the order in which they start. */
export interface ServicesFile {
  readonly file: string;
  /** Whether it has a list of services, even if that has one only. */
  readonly isList: boolean;
  readonly services: readonly ConfiguredService[];
}

/**
 * The services of the config file that holds in a folder.
 * @returns undefined where there is none, or it names no command and so no service
 * @throws MOULT_CONFIG_FAILED, MOULT_BAD_OPTION
 */
export async function fileServices(
  { config }: Pick<FileChoice, 'config'>,
  cwd: string,
): Promise<ServicesFile | undefined> {
  if (config === false) return undefined;
  const file = typeof config === 'string' ? namedConfig(config, cwd) : findConfig(cwd);
  if (file === undefined) return undefined;
  const { readConfig, servicesIn } = await import('./read-config.js');
  const all = servicesIn(await readConfig(file));
  const isList = all.some(({ key }) => key !== undefined);
  if (!isList && all.every(({ service }) => service.command === undefined)) return undefined;
  const named = new Map(all.map((one) => [one.key, configured(one, cwd)]));
  return {
    file,
    isList,
    services: all.map((one) => ({
      ...configured(one, cwd),
      after: (one.service.after ?? []).flatMap((key) => named.get(key)?.name ?? []),
    })),
  };
}

function configured(one: FileService, cwd: string): ConfiguredService {
  const resolved = resolveConfig({ words: [], flags: {}, cwd }, one);
  const name = resolved.flags.name ?? defaultName(resolved.service);
  return { name, key: one.key, after: [], resolved };
}
