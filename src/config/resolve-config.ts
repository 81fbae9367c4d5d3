import { resolve } from 'node:path';
import { MoultError } from '../errors.js';
import type { ServiceCommand } from '../supervisor/releases/release.js';
import type { HeldOption, OptionOrigin } from '../supervisor/service-settings.js';
import { type OptionKey, type OptionRow, optionRows, type RunFlags } from './options/run-options.js';
import type { FileService } from './read-config.js';

/** What the command line of `moult run` says. */
export interface GivenByCommand {
  readonly words: readonly string[];
  /** Only what was given there, not defaults. */
  readonly flags: Partial<RunFlags>;
  /** The folder in which it was said. */
  readonly cwd: string;
}

/** What holds for a service. */
export interface ResolvedConfig {
  readonly service: ServiceCommand;
  readonly flags: RunFlags;
  readonly held: readonly HeldOption[];
}

/**
 * Puts together what holds: the command line wins over the file, and the file over the defaults.
 * A command on the command line runs in the folder in which it was given, whatever folder the file names.
 * @throws MOULT_BAD_OPTION where neither names a command
 */
export function resolveConfig(given: GivenByCommand, file: FileService | undefined): ResolvedConfig {
  const values: Partial<Record<OptionKey, unknown>> = {};
  const options = optionRows.map(([key, row]): HeldOption => {
    const { value, written, from } = held(key, row, given, file);
    if (value !== undefined) values[key] = value;
    return { key, value: row.kind.hide?.(written) ?? written, from };
  });
  const named = file?.key === undefined || values.name !== undefined ? {} : { name: file.key };
  const flags = { ...values, ...named } as RunFlags;
  const { service, from } = commandOf(given, file, flags.envFile);
  const env = Object.keys(file?.service.env ?? {});
  return {
    service,
    flags,
    held: [
      { key: 'command', value: service.words, from },
      { key: 'cwd', value: service.cwd, from: from === 'file' ? 'file' : 'command line' },
      // Their values may be secrets.
      ...(env.length === 0 ? [] : [{ key: 'env', value: env, from: 'file' as const }]),
      ...options.map((one) =>
        one.key === 'name' && 'name' in named ? { ...one, value: file?.key, from: 'file' as const } : one,
      ),
    ],
  };
}

function held(key: OptionKey, row: OptionRow, { flags }: GivenByCommand, file: FileService | undefined) {
  const given = flags[key];
  if (given !== undefined) {
    return { value: given, written: row.kind.show?.(given as never) ?? given, from: 'command line' as const };
  }
  const value = file?.service[key];
  if (file === undefined || value === undefined) {
    return { value: row.default, written: row.shown ?? row.default, from: 'default' as const };
  }
  // Files are looked for beside the config, wherever the command runs.
  const paths =
    key === 'envFile' ? (value as readonly string[]).map((path) => resolve(folderOf(file), path)) : value;
  return { value: paths, written: file.written[key], from: 'file' as const };
}

function folderOf({ folder, service }: FileService): string {
  return service.cwd === undefined ? folder : resolve(folder, service.cwd);
}

function commandOf(
  { words, cwd }: GivenByCommand,
  file: FileService | undefined,
  envFiles: readonly string[] = [],
): { service: ServiceCommand; from: OptionOrigin } {
  const env = file?.service.env === undefined ? {} : { env: file.service.env };
  if (words.length > 0) return { service: { words, cwd, envFiles, ...env }, from: 'command line' };
  const command = file?.service.command;
  if (file === undefined || command === undefined) {
    const where = file === undefined ? 'a config file with a command' : `a command in ${nameOf(file)}`;
    throw new MoultError(
      'MOULT_BAD_OPTION',
      `expected <script.js | command …>, or ${where}; received neither`,
    );
  }
  return { service: { words: command, cwd: folderOf(file), envFiles, ...env }, from: 'file' };
}

function nameOf({ file, key }: FileService): string {
  return key === undefined ? file : `services.${key} of ${file}`;
}

/**
 * What of a change a running service cannot take over.
 * @returns the keys, each with what to do.
 */
export function refusedChanges(now: RunFlags, next: RunFlags): string[] {
  return optionRows.flatMap(([key, { applies }]) => {
    const [before, after] = [now[key], next[key]];
    if (applies === 'restart' || JSON.stringify(before) === JSON.stringify(after)) return [];
    if (applies === 'start') return [key];
    return (before === undefined) === (after === undefined) ? [] : [`${key} (on or off)`];
  });
}
