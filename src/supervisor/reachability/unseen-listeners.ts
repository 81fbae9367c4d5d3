import { readFileSync } from 'node:fs';
import { sep } from 'node:path';
import { inodeOf } from '../../os/descriptors/foreign-descriptor.js';
import { isForOneProcess } from '../../os/files/private-path.js';
import { socketsOf, treeOf } from '../../os/processes/proc-tree.js';
import { localPorts } from '../../os/sockets/local-ports.js';
import { tcpListeners, udpReceivers } from '../../os/sockets/socket-diag.js';
import { unixListeners } from '../../os/unix-sockets/unix-listeners.js';
import { type Shown, shownAs } from './shown-path.js';

const MAX_COMMAND = 200;
/** Each Node has its own, and says so itself. Source: Node.js documentation, "Debugging". */
const INSPECTOR_PORT = 9229;
const UNIX = 'unix:';

/** A socket on which a process of the service's tree listens, and which moult does not hold. */
export interface UnseenListener {
  /** `127.0.0.1:9000`, `[::]:9000`, `udp:127.0.0.1:9000` or `unix:/run/app.sock`. */
  readonly address: string;
  readonly inode: number;
  readonly pid: number;
  /** The command line of that process. */
  readonly command: string;
  /** How clients come to a path that holds the number of that process. */
  readonly shown?: Shown;
}

/**
 * The sockets on which processes of a tree listen although moult does not hold them: native code, a process that moult was
 * not let into, a helper's own. They do not change hands. A path that holds the number of its process is that process's own affair,
 * unless a link leads to it, or it has been given another name.
 * @param leader the process that was started.
 * @param held our copies of the listeners.
 * @param folder the run folder: moult's own sockets are there.
 * @returns none where the kernel does not tell, or may not be asked of these processes.
 */
export function unseenListeners(leader: number, held: readonly number[], folder: string): UnseenListener[] {
  const addresses = listening(folder);
  for (const fd of held) addresses.delete(inodeOf(fd));
  if (addresses.size === 0) return [];
  const found = new Map<string, UnseenListener>();
  for (const pid of treeOf(leader)) {
    for (const inode of socketsOf(pid)) {
      const address = addresses.get(inode);
      if (address === undefined || found.has(address)) continue;
      const path = address.startsWith(UNIX) ? address.slice(UNIX.length) : undefined;
      const isOwnAffair = path !== undefined && isForOneProcess(path, pid);
      const shown = isOwnAffair ? shownAs(path, pid, inode) : undefined;
      if (!isOwnAffair || shown !== undefined)
        found.set(address, { address, inode, pid, command: commandOf(pid), ...(shown && { shown }) });
    }
  }
  return [...found.values()];
}

/** As {@link UnseenListener.address} names it. */
export function tcpAddress(host: string, port: number): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** Whether another process might as well listen elsewhere: its port is the system's choice. A path is fixed. */
export function isPortOfSystem(address: string): boolean {
  const { first, last } = localPorts();
  const port = address.startsWith(UNIX) ? 0 : Number(address.slice(address.lastIndexOf(':') + 1));
  return port >= first && port <= last;
}

/** Addresses by inodes. */
function listening(folder: string): Map<number, string> {
  const tcp = tcpListeners()
    .filter(({ port }) => port !== INSPECTOR_PORT)
    .map(({ inode, host, port }) => [inode, tcpAddress(host, port)] as const);
  // A socket from which a client sends has a port of the system's choice.
  const { first, last } = localPorts();
  const udp = udpReceivers()
    .filter(({ port }) => port < first || port > last)
    .map((one) => [one.inode, `udp:${tcpAddress(one.host, one.port)}`] as const);
  const unix = unixListeners()
    .filter(({ path }) => !path.startsWith(folder + sep))
    .map(({ inode, path }) => [inode, UNIX + path] as const);
  return new Map([...tcp, ...udp, ...unix]);
}

function commandOf(pid: number): string {
  try {
    const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1);
    return words.join(' ').slice(0, MAX_COMMAND);
  } catch {
    return 'it has ended';
  }
}
