import { boundDatagramName, boundName, freeName } from '../listeners/name.js';
import { closeOnExec } from '../os/descriptors/descriptor.js';
import { type SocketIdentity, type SocketName, socketIdentity } from '../os/sockets/socket-identity.js';
import type { ListenerItem } from '../protocol/messages.js';
import { wholeNumber } from './environment.js';
import { isStoredByUs, listenerStoredAs } from './stored-name.js';

/*
 * Descriptors that systemd passes to a process that it starts: the sockets of the unit's socket units, then
 * what was stored for the unit. Source: sd_listen_fds(3).
 */

const FIRST_DESCRIPTOR = 3;
/** More than any unit has; a limit for a number that comes from outside. */
const MAX_PASSED = 4096;
const VARIABLES = ['LISTEN_PID', 'LISTEN_PIDFDID', 'LISTEN_FDS', 'LISTEN_FDNAMES'];

/** One descriptor with the name that the service manager gives it; empty for none. */
export interface Passed {
  readonly fd: number;
  readonly name: string;
}

/** What was passed, by what it is good for. */
export interface PassedListeners {
  /** Listening stream sockets, and datagram sockets of the Internet, as a generation inherits them. Those of socket units are `lasting`. */
  readonly listeners: readonly { readonly item: ListenerItem; readonly fd: number }[];
  /** Stored by moult, but not listening any more: nobody can use them. */
  readonly dead: readonly Passed[];
  /** Anything else, such as a connection or a pipe. */
  readonly others: readonly Passed[];
}

/**
 * Takes the descriptors that were passed to this process, makes them close-on-exec, and removes the variables.
 * @returns none when the variables are meant for another process; they stay then.
 */
export function takePassed(env: NodeJS.ProcessEnv, pid = process.pid): Passed[] {
  if (wholeNumber(env.LISTEN_PID) !== pid) return [];
  const count = Math.min(wholeNumber(env.LISTEN_FDS) ?? 0, MAX_PASSED);
  const names = (env.LISTEN_FDNAMES ?? '').split(':');
  for (const name of VARIABLES) delete env[name];
  return Array.from({ length: count }, (_, i) => ({ fd: FIRST_DESCRIPTOR + i, name: names[i] ?? '' })).filter(
    ({ fd }) => closesOnExec(fd),
  );
}

/** Finds out what was passed. Nothing is closed. */
export function sortPassed(passed: readonly Passed[]): PassedListeners {
  const listeners: { item: ListenerItem; fd: number }[] = [];
  const dead: Passed[] = [];
  const others: Passed[] = [];
  const isTaken = (name: string) => listeners.some(({ item }) => item.name === name);
  // What moult stored keeps its name; a socket of a unit is named by its address.
  const inOrder = [...passed].sort((a, b) => Number(isStoredByUs(b.name)) - Number(isStoredByUs(a.name)));
  for (const one of inOrder) {
    const item = itemOf(one);
    if (item !== undefined)
      listeners.push({ item: { ...item, name: freeName(item.name, isTaken) }, fd: one.fd });
    else (isStoredByUs(one.name) ? dead : others).push(one);
  }
  return { listeners, dead, others };
}

function itemOf({ fd, name }: Passed): ListenerItem | undefined {
  const identity = socketIdentity(fd);
  const bound = identity === undefined ? undefined : boundTo(identity);
  if (identity === undefined || bound === undefined) return undefined;
  // Whoever claims it says how long its queue is to be.
  const item = { ...bound, backlog: 0 };
  if (!isStoredByUs(name)) return { ...item, path: null, lasting: true };
  const own = listenerStoredAs(name) ?? item.name;
  return { ...item, name: own, path: pathOf(identity.address, own) };
}

function boundTo({
  type,
  isListening,
  address,
}: SocketIdentity): Pick<ListenerItem, 'name' | 'family'> | undefined {
  if (address.family === 'other') return undefined;
  if (type === 'stream' && isListening)
    return { name: boundName(address), family: address.family === 'unix' ? 'unix' : 'tcp' };
  if (type === 'datagram' && address.family !== 'unix')
    return { name: boundDatagramName(address), family: 'udp' };
  return undefined;
}

// A path that moult bound is moult's to remove; one of a handle that the service brought is not.
function pathOf(address: SocketName, name: string): string | null {
  return address.family === 'unix' && name.startsWith('unix:') && !name.startsWith('unix:@')
    ? name.slice('unix:'.length)
    : null;
}

function closesOnExec(fd: number): boolean {
  try {
    closeOnExec(fd);
    return true;
  } catch {
    // It is not open, whatever the variable says.
    return false;
  }
}
