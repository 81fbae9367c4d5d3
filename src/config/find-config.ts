import { existsSync, lstatSync, statSync } from 'node:fs';
import { dirname, extname, join, resolve } from 'node:path';
import { MoultError } from '../errors.js';

/** The names of a config file, the first that is there counts. */
export const CONFIG_NAMES = ['ts', 'mts', 'js', 'mjs', 'json'].map((ending) => `moult.config.${ending}`);

/**
 * The config file that holds in a folder: there, or above it up to the root of its package; without a package only there.
 * Links in the folder's name are kept, so that a file in a release is found anew when the link is switched.
 * @throws MOULT_CONFIG_FAILED where something that is no file has the name of one.
 */
export function findConfig(folder: string): string | undefined {
  const isInPackage = packageRoot(folder) !== undefined;
  for (let at = folder; ; at = dirname(at)) {
    const found = CONFIG_NAMES.map((name) => join(at, name)).find(isThere);
    // Whoever has put it there means it: without a word the command would do something else.
    if (found !== undefined && !isFile(found)) throw noFile(found);
    const isLast = !isInPackage || existsSync(join(at, 'package.json'));
    if (found !== undefined || isLast) return found;
  }
}

/** The file that `--config` names. @throws MOULT_CONFIG_FAILED where it is not there, or is of another kind */
export function namedConfig(path: string, folder: string): string {
  const file = resolve(folder, path);
  if (!['.ts', '.mts', '.cts', '.js', '.mjs', '.cjs', '.json'].includes(extname(file))) {
    const what = `expected a config file that ends in .ts, .mts, .js, .mjs or .json, received ${file}`;
    throw new MoultError('MOULT_CONFIG_FAILED', what);
  }
  if (!isFile(file))
    throw new MoultError('MOULT_CONFIG_FAILED', `expected a config file at ${file}, found none`);
  return file;
}

function packageRoot(folder: string): string | undefined {
  for (let at = folder; ; at = dirname(at)) {
    if (existsSync(join(at, 'package.json'))) return at;
    if (at === dirname(at)) return undefined;
  }
}

function isThere(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}

function noFile(path: string): MoultError {
  const isLink = lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() === true && !existsSync(path);
  const what = isLink ? 'a link that leads nowhere' : 'something else';
  return new MoultError('MOULT_CONFIG_FAILED', `expected ${path} to be a file, found ${what}`);
}

function isFile(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false })?.isFile() === true;
  } catch {
    // A link that leads to itself.
    return false;
  }
}
