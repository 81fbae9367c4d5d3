import type { Command } from 'commander';
import { MoultError } from '../errors.js';
import type { GivenSettings } from '../supervisor/service-settings.js';
import { findConfig, namedConfig } from './find-config.js';
import type { RunFlags } from './options/run-options.js';
import { supervisorOptions } from './options/supervisor-options.js';
import type { ConfigContent, FileService } from './read-config.js';
import { type GivenByCommand, type ResolvedConfig, refusedChanges, resolveConfig } from './resolve-config.js';

/** The options of `moult run` that say which file holds. */
export interface FileChoice {
  /** A path; false for none; else the nearest. */
  readonly config?: string | boolean;
  /** The key of one of several services in it. */
  readonly service?: string;
}

/** What holds for a service, read and as its supervisor takes it. */
export type ConfigSettings = ResolvedConfig & GivenSettings;

/** What was given on the command line itself, without what commander added. */
export function givenBy(command: Command, cwd: string): GivenByCommand & FileChoice {
  const given = Object.entries(command.opts()).filter(([key]) => command.getOptionValueSource(key) === 'cli');
  const { config, service, outputBound: _, ...flags } = Object.fromEntries(given);
  return {
    words: command.args,
    cwd,
    flags: flags as Partial<RunFlags>,
    ...(config === undefined ? {} : { config }),
    ...(service === undefined ? {} : { service }),
  };
}

/** Where the settings of one service come from: the command line, and a config file that is read again at each restart. */
export class ConfigSource {
  readonly #given: GivenByCommand & FileChoice;
  #first: ConfigSettings | undefined;

  constructor(given: GivenByCommand & FileChoice) {
    this.#given = given;
  }

  /**
   * What holds at the start.
   * @param before what an earlier program of this process had read, null for nothing: then no file is read.
   * @throws MOULT_CONFIG_FAILED, MOULT_BAD_OPTION
   */
  async first(before?: ConfigContent | null): Promise<ConfigSettings> {
    this.#first = await this.#resolve(before === undefined ? await this.#read() : (before ?? undefined));
    return this.#first;
  }

  /**
   * Reads the file again.
   * @throws MOULT_CONFIG_FAILED, MOULT_BAD_OPTION; MOULT_CONFIG_NEEDS_START for what only a new start can change
   */
  async again(): Promise<ConfigSettings> {
    const next = await this.#resolve(await this.#read());
    if (this.#first !== undefined) assertCanFollow(this.#first, next);
    return next;
  }

  async #read(): Promise<ConfigContent | undefined> {
    const { config, cwd } = this.#given;
    if (config === false) return undefined;
    const file = typeof config === 'string' ? namedConfig(config, cwd) : findConfig(cwd);
    if (file === undefined) return undefined;
    const { readConfig } = await import('./read-config.js');
    return readConfig(file);
  }

  async #resolve(content: ConfigContent | undefined): Promise<ConfigSettings> {
    const resolved = resolveConfig(this.#given, await this.#serviceIn(content));
    const options = supervisorOptions(resolved.flags, resolved.service);
    const config = content === undefined ? {} : { config: content };
    return { ...resolved, options, logLevel: resolved.flags.log, ...config };
  }

  async #serviceIn(content: ConfigContent | undefined): Promise<FileService | undefined> {
    const { service: key, words } = this.#given;
    if (content === undefined) {
      if (key === undefined) return undefined;
      throw new MoultError('MOULT_BAD_OPTION', `--service ${key}: expected a config file, found none`);
    }
    const { servicesIn, sharedIn } = await import('./read-config.js');
    const all = servicesIn(content);
    const [only, ...more] = all;
    const names = all.flatMap((one) => one.key ?? []).join(', ');
    if (key !== undefined) {
      const found = all.find((one) => one.key === key);
      if (found !== undefined) return found;
      const expected = names === '' ? 'a file with several services' : `one of ${names}`;
      throw new MoultError(
        'MOULT_BAD_OPTION',
        `--service: expected ${expected}, received ${key} (${content.file})`,
      );
    }
    if (words.length > 0) return sharedIn(content);
    if (more.length === 0) return only;
    const what = `${content.file} has several services (${names}): run all of them with moult up, or one with moult run --service NAME`;
    throw new MoultError('MOULT_BAD_OPTION', what);
  }
}

function assertCanFollow(before: ConfigSettings, next: ConfigSettings): void {
  const keys = refusedChanges(before.flags, next.flags);
  // Without the option it follows from the command.
  if (keys.length === 0 && before.options.isProgram !== next.options.isProgram)
    keys.push('command (a program instead of a Node service, or the other way round)');
  if (keys.length === 0) return;
  const where = next.config?.file ?? 'the config file is gone';
  const what = `${where}: a running service cannot change ${keys.join(', ')}: stop it and start it again`;
  throw new MoultError('MOULT_CONFIG_NEEDS_START', what);
}
