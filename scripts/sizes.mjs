// Which files of the sources are too long, and which folders too full.
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative, sep } from 'node:path';

export const MOST_LINES = 400;
/** Whatever is longer says why. */
const EXPLAINED_LINES = 300;
/** So many files a folder may have besides its sub-folders. */
export const MOST_FILES = 15;
const PROGRAM = /\.[cm]?tsx?$/;
const TEXT = /\.(?:[cm]?tsx?|css)$/;
/** Tables, which are read by looking up one entry. */
const TABLES = ['errors.ts', 'protocol/messages.ts'];

/**
 * The files of more lines than a file may have, the longest first.
 * @param {string} folder
 * @returns {{ path: string, lines: number }[]}
 */
export function longFiles(folder) {
  return filesOf(folder, TEXT)
    .filter((path) => !TABLES.includes(path))
    .map((path) => ({ path, lines: readFileSync(join(folder, path), 'utf8').split('\n').length - 1 }))
    .filter(({ lines }) => lines > MOST_LINES)
    .sort((a, b) => b.lines - a.lines);
}

/**
 * The files of over 300 lines that do not say at their top why.
 * @param {string} folder
 * @returns {string[]}
 */
export function unexplained(folder) {
  return filesOf(folder, TEXT).filter((path) => {
    const lines = readFileSync(join(folder, path), 'utf8').split('\n');
    return lines.length - 1 > EXPLAINED_LINES && !/over \d00 lines/i.test(lines.slice(0, 12).join('\n'));
  });
}

/**
 * The folders with more files than a folder may have, the fullest first.
 * @param {string} folder
 * @returns {{ path: string, files: number }[]}
 */
export function fullFolders(folder) {
  const counts = new Map();
  for (const file of filesOf(folder, PROGRAM)) {
    const path = file.split('/').slice(0, -1).join('/');
    counts.set(path, (counts.get(path) ?? 0) + 1);
  }
  return [...counts]
    .map(([path, files]) => ({ path, files }))
    .filter(({ files }) => files > MOST_FILES)
    .sort((a, b) => b.files - a.files);
}

function filesOf(folder, kind) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && kind.test(entry.name))
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)).replaceAll(sep, '/'));
}
