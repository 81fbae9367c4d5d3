import { MoultError } from '../../errors.js';
import type { JournalEntry } from '../../lifecycle/journal-entry.js';
import { closeDescriptor, shutDownListener } from '../../os/descriptors/descriptor.js';
import { copySocketOf } from '../../os/descriptors/foreign-descriptor.js';
import { treeOf } from '../../os/processes/proc-tree.js';
import { socketIdentity } from '../../os/sockets/socket-identity.js';
import { orderLeft } from '../../programs/kernel-order.js';
import type { ListenOption } from '../../programs/listen-option.js';
import type { LeftBehind } from '../process/journal-replay.js';
import { servedLast } from './program-factory.js';

/** A copy of what a program has that an earlier supervisor left; to be closed by whoever has this. */
interface Copy {
  readonly fd: number;
  /** What names the socket. */
  readonly inode: number;
  /** That of the program. */
  readonly generation: number;
}

/** A socket that programs have which an earlier supervisor left. */
interface LeftSocket {
  readonly fd: number;
  /** The generations that have it. */
  readonly generations: readonly number[];
}

/** What is left of one listener, of which there is at least one socket. */
export interface LeftListener {
  readonly listener: string;
  /** As the kernel counts them. */
  readonly sockets: readonly LeftSocket[];
  /** The index of the one to which new connections are to go. */
  readonly chosen: number;
}

/**
 * Takes back the sockets of programs that an earlier supervisor left. A program does not speak, so copies are made of
 * what it has open.
 * @param entries of the journal, which names the sockets.
 * @param living the generations that an earlier supervisor left, and that live.
 * @param isHeld whether there is another copy, as of what a service manager passed.
 * @throws MOULT_LISTEN_FAILED where a program may not be looked into, and there is no other copy.
 */
export function takeBackSockets(
  options: readonly ListenOption[],
  entries: readonly JournalEntry[],
  living: readonly LeftBehind[],
  isHeld: (listener: string) => boolean,
): LeftListener[] {
  const current = servedLast(entries);
  // Where the one that served is gone, clients wait best with the newest.
  const byRank = [...living].sort(
    (a, b) =>
      Number(b.generation === current) - Number(a.generation === current) || b.generation - a.generation,
  );
  return options.flatMap(({ listener }) => {
    try {
      return leftOf(listener, entries, byRank) ?? [];
    } catch (error) {
      if (isHeld(listener)) return [];
      throw error;
    }
  });
}

function leftOf(
  listener: string,
  entries: readonly JournalEntry[],
  byRank: readonly LeftBehind[],
): LeftListener | undefined {
  const inodes = socketsOf(entries, listener);
  const found = copiesOf(byRank, inodes, listener);
  const [first] = found;
  if (first === undefined) return undefined;
  const open = found.filter(({ fd }) => isOpen(fd));
  const order = orderLeft(inodes, new Set(open.map(({ inode }) => inode)));
  const sockets = order?.flatMap((inode) => found.find((one) => one.inode === inode) ?? []) ?? [];
  const chosen = sockets.indexOf(first);
  // It has been shut down, or nobody knows how they are counted: with one alone that is no question.
  if (chosen < 0) for (const { fd, inode } of found) if (inode !== first.inode) shutDownListener(fd);
  const kept = chosen < 0 ? [first] : sockets;
  for (const one of found) if (!kept.includes(one)) closeDescriptor(one.fd);
  const having = (inode: number) =>
    found.filter((one) => one.inode === inode).map(({ generation }) => generation);
  return {
    listener,
    sockets: kept.map(({ fd, inode }) => ({ fd, generations: having(inode) })),
    chosen: Math.max(0, chosen),
  };
}

/** The sockets of a listener, by what names each, as the journal told them last. */
function socketsOf(entries: readonly JournalEntry[], listener: string): number[] {
  const last = entries.findLast((entry) => entry.event === 'sockets' && entry.listener === listener);
  return Array.isArray(last?.inodes) ? last.inodes.map(Number) : [];
}

/** One of each socket for each generation that has it, in the order of the generations. */
function copiesOf(living: readonly LeftBehind[], inodes: readonly number[], listener: string): Copy[] {
  const copies: Copy[] = [];
  try {
    for (const { pid: leader, generation } of living) {
      const missing = new Set(inodes);
      for (const pid of treeOf(leader)) {
        for (const inode of missing) {
          const fd = copyOf(pid, inode, listener, generation);
          if (fd !== undefined && missing.delete(inode)) copies.push({ fd, inode, generation });
        }
      }
    }
    return copies;
  } catch (error) {
    for (const { fd } of copies) closeDescriptor(fd);
    throw error;
  }
}

function copyOf(pid: number, inode: number, listener: string, generation: number): number | undefined {
  try {
    return copySocketOf(pid, inode);
  } catch (cause) {
    const { reason } = (cause as MoultError).details ?? {};
    throw new MoultError(
      'MOULT_LISTEN_FAILED',
      `--listen: ${listener} could not be taken back from process ${pid} of generation ${generation}, which an earlier supervisor started and which still serves: ${String(reason)}. Stop it and run again, or allow moult to trace it: as the same user with kernel.yama.ptrace_scope 0, or with CAP_SYS_PTRACE`,
      { cause, details: { listener, reason, pid } },
    );
  }
}

// A datagram socket is open as long as somebody has it.
function isOpen(fd: number): boolean {
  const identity = socketIdentity(fd);
  return identity?.type === 'datagram' || identity?.isListening === true;
}
