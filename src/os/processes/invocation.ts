import { accessSync, constants, existsSync, realpathSync } from 'node:fs';
import { delimiter, isAbsolute, join, resolve } from 'node:path';
import { namedWorkingDirectory } from '../files/working-directory.js';

/*
 * By which paths this process was called. Links in them may lead elsewhere later, and what they led to at first may be
 * removed: releases behind a link, versions of Node. So they are kept as they were, and resolved at each use.
 */

const cwd = safely(() => ({ real: process.cwd(), named: namedWorkingDirectory() }));
const script = named(process.argv[1] ?? '');
const node = calledNodeAtStart();

/** The path of the script that this process runs, as it was called, absolute. */
export function calledScript(): string {
  return script;
}

/**
 * The Node to start processes with: by the path by which this process was called, where that still leads to one; else
 * the one in PATH, else the file that this process runs, which can be executed although it is removed.
 */
export function calledNode(): string {
  const found = [node, inPath('node'), process.execPath].find((path) => path !== undefined && isThere(path));
  // Source: proc(5), /proc/pid/exe.
  return found ?? `/proc/${process.pid}/exe`;
}

function calledNodeAtStart(): string {
  const { argv0, execPath } = process;
  const called = argv0.includes('/') ? named(resolve(cwd?.real ?? '/', argv0)) : inPath(argv0);
  const isIt =
    called !== undefined && safely(() => realpathSync(called)) === safely(() => realpathSync(execPath));
  return isIt ? called : execPath;
}

// Node has resolved a relative path by the folder's real name.
function named(path: string): string {
  if (cwd === undefined || !path.startsWith(`${cwd.real}/`)) return path;
  return join(cwd.named, path.slice(cwd.real.length));
}

function inPath(name: string): string | undefined {
  const folders = (process.env.PATH ?? '').split(delimiter).filter((folder) => isAbsolute(folder));
  return folders.map((folder) => join(folder, name)).find(isThere);
}

function isThere(path: string): boolean {
  return existsSync(path) && safely(() => accessSync(path, constants.X_OK) ?? true) === true;
}

function safely<T>(ask: () => T): T | undefined {
  try {
    return ask();
  } catch {
    return undefined;
  }
}
