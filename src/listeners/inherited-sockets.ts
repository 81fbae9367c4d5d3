import type { ListenRequest } from '../node/listening/listen-hook.js';
import { closeDescriptor, shutDownListener } from '../os/descriptors/descriptor.js';
import { realPlace, socketFile } from '../os/unix-sockets/socket-file.js';
import type { SocketLinks } from '../os/unix-sockets/socket-links.js';
import type { ListenerItem } from '../protocol/messages.js';
import { removeSocketPath } from './listener.js';
import { IPV6_ONLY, overlaps } from './name.js';

/** A socket of the predecessor that has not been claimed. */
export interface Inherited {
  readonly item: ListenerItem;
  readonly fd: number;
}

/** The sockets that came from another process, and that the service here has not claimed. Their descriptors belong to this object. */
export class InheritedSockets {
  readonly #sockets = new Map<string, Inherited>();
  readonly #withdrawn = new Set<string>();
  readonly #isClaimed: (name: string) => boolean;

  /** @param isClaimed whether the service here has a listener of this name. */
  constructor(isClaimed: (name: string) => boolean) {
    this.#isClaimed = isClaimed;
  }

  /** Takes over descriptors of listening sockets, in the order of their descriptions. */
  takeOver(items: readonly ListenerItem[], descriptors: readonly number[]): void {
    items.forEach((item, i) => {
      const fd = descriptors[i];
      if (fd !== undefined) this.put(item, fd);
    });
  }

  /** Adds one, in place of one of the same name. */
  put(item: ListenerItem, fd: number): void {
    this.#sockets.set(item.name, { item, fd });
  }

  /** Adds one whose clients wait, for another keeps it open, until the service or a successor claims it again. */
  putSpare(item: ListenerItem, fd: number): void {
    if (fd >= 0) this.put({ ...item, spare: true }, fd);
  }

  /** Another slot of the service has opened a socket: the service here may claim it. */
  offer(item: ListenerItem, fd: number): void {
    if (this.#isKnown(item.name)) closeDescriptor(fd);
    else this.putSpare(item, fd);
  }

  /** The predecessor has opened a socket that the service here is to have, too. */
  addLate(item: ListenerItem, fd: number): void {
    if (this.#isKnown(item.name)) closeDescriptor(fd);
    else this.put(item, fd);
  }

  /** What was offered and is not claimed stays with who offered it. */
  declineOffer(name: string): void {
    const offered = this.#sockets.get(name);
    if (offered?.item.spare !== true || this.#isClaimed(name)) return;
    this.#sockets.delete(name);
    closeDescriptor(offered.fd);
  }

  /** No slot of the service has this one any more. */
  withdraw(name: string): void {
    this.#withdrawn.add(name);
    const inherited = this.take(name);
    if (inherited !== undefined) closeDescriptor(inherited.fd);
  }

  /** Whether whoever had one of this name has closed it since it was passed on. */
  isWithdrawn(name: string): boolean {
    return this.#withdrawn.has(name);
  }

  /** Whether one was passed on and is not claimed yet. */
  has(name: string): boolean {
    return this.#sockets.has(name);
  }

  /** The names of those that were not claimed yet, without those that nobody claimed before either. */
  unclaimed(): string[] {
    const sockets = [...this.#sockets.values()].filter(({ item }) => item.family !== 'file' && !item.spare);
    return sockets.map(({ item }) => item.name).filter((name) => !this.#isClaimed(name));
  }

  /** Those that another keeps open, and that nobody claims. */
  spare(): Inherited[] {
    return [...this.#sockets.values()].filter(({ item }) => item.spare);
  }

  /** What was inherited under a name and is of one of these kinds. It stays until a listener that claims it is added. */
  named(name: string, families: readonly ListenerItem['family'][]): Inherited | undefined {
    const found = this.#sockets.get(name);
    return found !== undefined && families.includes(found.item.family) ? found : undefined;
  }

  /** The Unix listener that was inherited and is found at this path, or was: however the services spell it. */
  atPath(path: string): Inherited | undefined {
    const file = socketFile(path);
    const place = realPlace(path);
    return [...this.#sockets.values()].find(({ item }) => {
      if (item.family !== 'unix' || item.file === undefined) return false;
      return item.file === file || (item.path !== null && realPlace(item.path) === place);
    });
  }

  /** What was inherited from a service manager under one of these names. */
  lasting(names: readonly string[]): Inherited | undefined {
    return names.map((name) => this.#sockets.get(name)).find((found) => found?.item.lasting === true);
  }

  /** What was not claimed yet, and keeps this request from being bound: another form of the same address. */
  overlapping(
    { address, port, fd, flags }: Pick<ListenRequest, 'address' | 'port' | 'fd' | 'flags'>,
    family: 'tcp' | 'udp' = 'tcp',
  ): Inherited | undefined {
    if (fd !== undefined || port <= 0) return undefined;
    const asked = { host: address ?? '::', port, ipv6Only: (flags & IPV6_ONLY) !== 0 };
    return [...this.#sockets.values()].find(
      ({ item, fd: held }) =>
        item.family === family &&
        item.lasting !== true &&
        !this.#isClaimed(item.name) &&
        overlaps(asked, held),
    );
  }

  /** Removes one: it has been claimed, or its path could not be had and another socket has taken its name. */
  take(name: string): Inherited | undefined {
    const inherited = this.#sockets.get(name);
    this.#sockets.delete(name);
    return inherited;
  }

  /**
   * Closes the copies of what was never claimed; what others keep open may be claimed by a successor.
   * @param held the names of those for which the service may still come.
   * @param isKept whether others keep it open.
   * @returns which of them are held here.
   */
  dropUnclaimed(held: ReadonlySet<string>, isKept: (item: ListenerItem) => boolean): string[] {
    const kept: string[] = [];
    for (const [name, { item, fd }] of [...this.#sockets]) {
      if (isKept(item)) this.putSpare(item, fd);
      else if (item.family !== 'file' && (held.has(name) || item.spare) && !this.#isClaimed(name)) {
        this.putSpare(item, fd);
        kept.push(name);
      } else {
        closeDescriptor(fd);
        this.#sockets.delete(name);
      }
    }
    return kept;
  }

  /** Closes one for good, for every process, that the service never came to listen on. @returns whether there was one. */
  closeForGood(name: string, links: SocketLinks | undefined): boolean {
    const inherited = this.take(name);
    if (inherited === undefined) return false;
    const { item, fd } = inherited;
    if (item.family === 'tcp' || item.family === 'unix') shutDownListener(fd);
    if (item.path !== null) removeSocketPath(item.path, item.file, links);
    closeDescriptor(fd);
    return true;
  }

  #isKnown(name: string): boolean {
    return this.#isClaimed(name) || this.#sockets.has(name);
  }
}
