import { inodeOf } from '../../os/descriptors/foreign-descriptor.js';
import type { ListenerItem } from '../../protocol/messages.js';
import type { PassedListener } from '../../service/environment.js';
import type { Release } from '../releases/release.js';

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
