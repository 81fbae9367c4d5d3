import { existsSync } from 'node:fs';
import { isAbsolute } from 'node:path';
import { inodeOf } from '../../os/descriptors/foreign-descriptor.js';
import { calledNode } from '../../os/processes/invocation.js';
import type { ListenerItem } from '../../protocol/messages.js';
import type { PassedListener } from '../../service/environment.js';
import { passedVariable, type StartedBy, variablesFor } from '../../service/environment.js';
import type { Release } from '../releases/release.js';
import type { ServiceFiles } from './service-files.js';

/** Descriptors from this one on are inherited beside input and outputs. */
const FIRST_DESCRIPTOR = 3;

/** The listeners that a process gets at its start, with their descriptors in the same order. */
export interface AtStart {
  readonly items: readonly ListenerItem[];
  readonly descriptors: readonly number[];
}

/** Those that a process can have in that way: our descriptors, and what it is told of them. */
export function passedListeners({ items, descriptors }: AtStart): { fd: number; told: PassedListener }[] {
  return items
    .flatMap((item, i) => {
      const fd = descriptors[i] ?? -1;
      return (item.family === 'tcp' || item.family === 'unix') && item.spare !== true ? [{ item, fd }] : [];
    })
    .map(({ item: { name, path, backlog }, fd }, i) => ({
      fd,
      told: { name, path, backlog, fd: FIRST_DESCRIPTOR + i, inode: inodeOf(fd) },
    }));
}

/**
 * Whether the flags of a release have its Node load no addons, as far as they are seen here: in the command, and in NODE_OPTIONS.
 * Source: Node's documentation, "Permissions": with them addons are not loaded unless they are allowed.
 */
export function loadsNoAddons({ args, isDirect, env }: Release): boolean {
  const end = args.findIndex((word) => !word.startsWith('-'));
  const flags = isDirect ? args.slice(0, end < 0 ? args.length : end) : [];
  const all = [...flags, ...(env.NODE_OPTIONS ?? '').split(/\s+/).map((word) => word.replaceAll('"', ''))];
  const has = (flag: string) => all.includes(flag);
  const isRestricted = has('--permission') || has('--experimental-permission');
  return has('--no-addons') || (isRestricted && !has('--allow-addons'));
}

/** What is started for a generation: its command, with what moult adds to its arguments and its environment. */
export function launchOf(
  release: Release,
  started: StartedBy,
  files: ServiceFiles,
  passed: ReturnType<typeof passedListeners>,
): Release {
  const { NODE_OPTIONS } = release.env;
  const variables = variablesFor(started, release.isDirect, files.preload, files.koffi, NODE_OPTIONS);
  // As an argument too: a Node with capabilities, or of another user's, does not heed NODE_OPTIONS.
  const args = release.isDirect ? ['--require', files.preload, ...release.args] : release.args;
  // The Node of an older release may be gone, as after an update.
  const isGone = release.isDirect && isAbsolute(release.command) && !existsSync(release.command);
  const command = isGone ? calledNode() : release.command;
  const env = { ...release.env, ...variables, ...passedVariable(passed.map(({ told }) => told)) };
  return { ...release, command, args, env };
}
