import { constants } from 'node:os';
import {
  type DatagramAddress,
  type DatagramHandle,
  methodOf,
  override,
} from '../node/listening/datagram-handle.js';

/** Options that have one value; `bufferSize` has one for receiving and one for sending. */
const OPTIONS = [
  'setBroadcast',
  'setTTL',
  'setMulticastTTL',
  'setMulticastLoopback',
  'setMulticastInterface',
];
const JOINS = {
  addMembership: 'dropMembership',
  addSourceSpecificMembership: 'dropSourceSpecificMembership',
};
const { EADDRINUSE, EISCONN, ENOTCONN } = constants.errno;

type Original = (...args: unknown[]) => unknown;

interface Wanted {
  readonly args: readonly unknown[];
  readonly apply: Original;
}

/**
 * What the service has set on a datagram socket: options, groups, the peer of `connect()`. All of it belongs
 * to the one socket of the kernel that two generations share. So a generation that does not receive changes
 * nothing there; what its service sets is kept, and is done when it begins to receive.
 */
export class DatagramSettings {
  readonly #handle: DatagramHandle;
  readonly #isReceiving: () => boolean;
  readonly #warn: (setting: string, error: number) => void;
  readonly #options = new Map<string, Wanted>();
  readonly #groups = new Map<string, Wanted>();
  readonly #connect: DatagramHandle['connect'];
  readonly #disconnect: DatagramHandle['disconnect'];
  #peer: readonly [address: string, port: number] | undefined;

  /**
   * @param isReceiving whether this generation may change the socket now.
   * @param warn told of what could not be set later; `error` is libuv's number.
   */
  constructor(
    handle: DatagramHandle,
    isReceiving: () => boolean,
    warn: (setting: string, error: number) => void,
  ) {
    this.#handle = handle;
    this.#isReceiving = isReceiving;
    this.#warn = warn;
    this.#connect = handle.connect.bind(handle);
    this.#disconnect = handle.disconnect.bind(handle);
    for (const name of OPTIONS) this.#keepOption(name);
    this.#keepBufferSize();
    for (const [join, leave] of Object.entries(JOINS)) this.#keepGroups(join, leave);
    this.#keepPeer();
  }

  /** Makes the socket what the service wants it to be. */
  apply(): void {
    for (const [name, { apply, args }] of [...this.#options, ...this.#groups]) {
      const error = apply(...args);
      // A group that the other generation has joined is joined.
      if (typeof error === 'number' && error < 0 && error !== -EADDRINUSE) this.#warn(name, error);
    }
    this.#applyPeer();
  }

  #keepOption(name: string): void {
    const apply = methodOf(this.#handle, name)?.bind(this.#handle);
    if (apply === undefined) return;
    override(this.#handle, name, (...args: unknown[]) => {
      const result = this.#isReceiving() ? apply(...args) : 0;
      if (result === 0) this.#options.set(name, { args, apply });
      return result;
    });
  }

  // Source: node lib/dgram.js, bufferSize: 0 asks for the size; the result is a size, undefined is a failure.
  #keepBufferSize(): void {
    const apply = methodOf(this.#handle, 'bufferSize')?.bind(this.#handle);
    if (apply === undefined) return;
    override(this.#handle, 'bufferSize', (size: number, ofReceiving: boolean, context: object) => {
      if (size === 0) return apply(size, ofReceiving, context);
      const result = this.#isReceiving() ? apply(size, ofReceiving, context) : size;
      const args = [size, ofReceiving, {}];
      if (result !== undefined) this.#options.set(`bufferSize ${ofReceiving}`, { args, apply });
      return result;
    });
  }

  #keepGroups(join: string, leave: string): void {
    const applyJoin = methodOf(this.#handle, join)?.bind(this.#handle);
    const applyLeave = methodOf(this.#handle, leave)?.bind(this.#handle);
    if (applyJoin === undefined || applyLeave === undefined) return;
    override(this.#handle, join, (...args: unknown[]) => {
      const key = `${join} ${args.join(' ')}`;
      if (this.#groups.has(key)) return -EADDRINUSE;
      let result = this.#isReceiving() ? applyJoin(...args) : 0;
      // Another generation has joined it, on the same socket.
      if (result === -EADDRINUSE) result = 0;
      if (result === 0) this.#groups.set(key, { args, apply: applyJoin });
      return result;
    });
    override(this.#handle, leave, (...args: unknown[]) => {
      this.#groups.delete(`${join} ${args.join(' ')}`);
      return this.#isReceiving() ? applyLeave(...args) : 0;
    });
  }

  #keepPeer(): void {
    override(this.#handle, 'connect', (address: string, port: number) => {
      const wanted = [address, port] as const;
      const mayConnect = this.#isReceiving() || isSame(this.#kernelPeer(), wanted);
      const result = mayConnect ? this.#connect(address, port) : 0;
      if (result === 0) this.#peer = wanted;
      return result;
    });
    override(this.#handle, 'disconnect', () => {
      const result = this.#isReceiving() ? this.#disconnect() : 0;
      if (result === 0) this.#peer = undefined;
      return result;
    });
  }

  // libuv remembers by itself whether a socket is connected; the other generation may have changed that.
  #applyPeer(): void {
    const found = this.#kernelPeer();
    if (this.#peer === undefined) {
      if (found === undefined || this.#disconnect() !== -ENOTCONN) return;
      this.#connect(found.address, found.port);
      this.#disconnect();
      return;
    }
    if (found !== undefined && !isSame(found, this.#peer)) this.#disconnect();
    let error = this.#connect(...this.#peer);
    if (error === -EISCONN && !isSame(this.#kernelPeer(), this.#peer)) {
      this.#disconnect();
      error = this.#connect(...this.#peer);
    }
    if (error !== 0 && error !== -EISCONN) this.#warn('connect', error);
  }

  #kernelPeer(): DatagramAddress | undefined {
    const out: Partial<DatagramAddress> = {};
    return this.#handle.getpeername(out) === 0 ? (out as DatagramAddress) : undefined;
  }
}

function isSame(found: DatagramAddress | undefined, [address, port]: readonly [string, number]): boolean {
  return found !== undefined && found.address === address && found.port === port;
}
