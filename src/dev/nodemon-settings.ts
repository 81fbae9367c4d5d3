import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { MoultError } from '../errors.js';

/** What of `nodemon.json`, or of `nodemonConfig` in package.json, says what is watched. */
export interface NodemonSettings {
  /** Paths to watch, besides or in place of the folder. */
  readonly watch: readonly string[];
  /** Patterns as in .gitignore. */
  readonly ignore: readonly string[];
  /** Endings of files, without their dot; none for the default. */
  readonly ext: readonly string[];
}

/** Reads them from a folder. @throws MOULT_CONFIG_FAILED where the file is no JSON */
export function nodemonSettings(folder: string): NodemonSettings {
  const { watch, ignore, ext } = fromFile(join(folder, 'nodemon.json')) ?? fromPackage(folder) ?? {};
  return {
    watch: texts(watch).map(beforeWildcards),
    ignore: texts(ignore),
    ext: texts(ext)
      .flatMap((one) => one.split(/[\s,]+/))
      .map((one) => one.replace(/^[*.]+/, ''))
      .filter((one) => one !== ''),
  };
}

function fromFile(path: string): Record<string, unknown> | undefined {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch (cause) {
    throw new MoultError('MOULT_CONFIG_FAILED', `${path} could not be read: ${(cause as Error).message}`, {
      cause,
    });
  }
}

function fromPackage(folder: string): Record<string, unknown> | undefined {
  return fromFile(join(folder, 'package.json'))?.nodemonConfig as Record<string, unknown> | undefined;
}

/** The folder or file under which a pattern such as `src/**\/*.ts` begins. */
function beforeWildcards(pattern: string): string {
  const parts = pattern.split('/');
  const at = parts.findIndex((part) => /[*?{[]/.test(part));
  return (at < 0 ? parts : parts.slice(0, at)).join('/') || '.';
}

function texts(value: unknown): string[] {
  return value === undefined ? [] : [value].flat().map(String);
}
