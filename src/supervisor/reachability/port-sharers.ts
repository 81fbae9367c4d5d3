import { inodeOf } from '../../os/descriptors/foreign-descriptor.js';
import { hasSocket, holderOf, treeOf } from '../../os/processes/proc-tree.js';
import { socketsBeside } from '../../os/sockets/sockets-beside.js';
import type { ListenerItem } from '../../protocol/messages.js';
import type { HeldListeners } from '../listeners/held-listeners.js';
import type { GenerationProcess } from '../process/generation-process.js';

/** By listener, the inodes of the sockets beside it whose process cannot be seen from here. */
type Unseen = ReadonlyMap<string, ReadonlySet<number>>;

/** What shares a port with a listener of the service and is no process of it. */
export interface PortSharers {
  /** What is wrong, by listener. */
  readonly problems: ReadonlyMap<string, string>;
  readonly unseen: Unseen;
}

/**
 * Looks for sockets of other processes at the ports of a service (SO_REUSEPORT): the kernel gives them some of its clients.
 * @param living whose processes may have such sockets.
 * @param before what was found some time ago: a socket whose process cannot be seen, and which is still there, is no
 *   socket that is just being closed.
 */
export function sharersOf(
  items: readonly ListenerItem[],
  held: HeldListeners,
  living: readonly GenerationProcess[],
  before: Unseen = new Map(),
): PortSharers {
  const problems = new Map<string, string>();
  const unseen = new Map<string, Set<number>>();
  for (const { name, family } of items) {
    const fd = family === 'tcp' ? held.descriptorOf(name) : undefined;
    if (fd === undefined) continue;
    const beside = besideQuietly(fd);
    // As a rule there is nobody, and nothing is asked of the many that a service may have.
    const ours = beside.length === 0 ? [] : held.describe().descriptors.map((one) => inodeOf(one));
    for (const inode of beside) {
      if (ours.includes(inode) || living.some((one) => holderIn(one, inode) !== null)) continue;
      const holder = holderOf(inode);
      const isSure = holder !== undefined || before.get(name)?.has(inode) === true;
      const who =
        holder === undefined
          ? 'a process that cannot be seen from here'
          : `process ${holder.pid} (${holder.name})`;
      if (isSure)
        problems.set(name, `${who} listens on ${name}, too (SO_REUSEPORT), and gets some of its clients`);
      else unseen.set(name, (unseen.get(name) ?? new Set()).add(inode));
    }
  }
  return { problems, unseen };
}

/**
 * The process of a generation that has a socket open, the service's first of all.
 * @returns null where none has, undefined where none has that may be looked into.
 */
export function holderIn({ servicePid, pid }: GenerationProcess, inode: number): number | null | undefined {
  const own = hasSocket(servicePid, inode);
  if (own === true) return servicePid;
  let isKnown = own !== undefined;
  for (const one of pid > 0 ? treeOf(pid) : []) {
    const has = hasSocket(one, inode);
    if (has === true) return one;
    isKnown &&= has !== undefined;
  }
  return isKnown ? null : undefined;
}

// A kernel that does not tell of sockets, or a want of descriptors, proves nothing of the service.
function besideQuietly(fd: number): readonly number[] {
  try {
    return socketsBeside(fd);
  } catch {
    return [];
  }
}
