import type { Socket } from 'node:dgram';
import type { AddressInfo } from 'node:net';
import { getSystemErrorName } from 'node:util';
import { MoultError } from '../errors.js';
import { type DatagramHandle, override, stopReceiving } from '../node/listening/datagram-handle.js';
import { onHandleClose } from '../node/listening/listening-handle.js';
import { shareAddress } from '../os/descriptors/descriptor.js';
import type { ListenerItem } from '../protocol/messages.js';
import { DatagramSettings } from './datagram-settings.js';
import { Listener, type ListenerIdentity, type OnClosedByService } from './listener.js';

/**
 * For so long nothing must have been sent on a socket that another generation receives on, before its last
 * receiver may end: the only sign there is that what it received is answered.
 */
export const QUIET_MS = 1000;

/**
 * A socket that receives datagrams. All generations share its one queue in the kernel; exactly one of them
 * receives. One that receives no more still answers on it: its own descriptor stays open until it ends.
 */
export class DatagramListener extends Listener {
  /** The service's own object. */
  readonly socket: Socket;
  readonly #handle: DatagramHandle;
  readonly #settings: DatagramSettings;
  #letReceive: (() => void) | undefined;
  #unwatchSends: (() => void) | undefined;
  #lastSentMs = Number.NEGATIVE_INFINITY;

  constructor(
    identity: ListenerIdentity,
    socket: Socket,
    handle: DatagramHandle,
    fd: number,
    state: 'gated' | 'open',
    isInherited: boolean,
    onClosedByService: OnClosedByService,
  ) {
    super(identity, fd, state, isInherited, onClosedByService);
    this.socket = socket;
    this.#handle = handle;
    this.#settings = new DatagramSettings(
      handle,
      () => this.state === 'open' || (this.state === 'gated' && !isInherited),
      (setting, error) => this.#warn(setting, error),
    );
    if (state === 'gated') this.#letReceive = stopReceiving(handle);
    onHandleClose(handle, () => this.closedByService());
  }

  /** For how many milliseconds more an answer may come from here; 0 when it has been quiet for long enough. */
  get quietInMs(): number {
    return Math.max(0, this.#lastSentMs + QUIET_MS - performance.now());
  }

  address(): AddressInfo | null {
    const out = {};
    return this.#handle.getsockname(out) === 0 ? (out as AddressInfo) : null;
  }

  item(): ListenerItem {
    const { name, family } = this.identity;
    return { name, family, path: null, backlog: 0, ...this.lasting };
  }

  protected openNow(): void {
    this.#settings.apply();
    this.#receive();
  }

  protected pauseNow(): void {
    this.#letReceive = stopReceiving(this.#handle);
    this.#lastSentMs = performance.now();
    const send = this.#handle.send.bind(this.#handle);
    this.#unwatchSends = override(this.#handle, 'send', (...args: unknown[]) => {
      this.#lastSentMs = performance.now();
      return send(...args);
    });
  }

  protected resumeNow(): void {
    this.#unwatchSends?.();
    this.#settings.apply();
    this.#receive();
  }

  // The port closes with the last copy, and others may hold one for a moment. Until then this generation may
  // bind it anew, as it could without them.
  protected closeEverywhere(): void {
    shareAddress(this.fd, true);
  }

  #receive(): void {
    this.#letReceive?.();
    this.#letReceive = undefined;
    const error = this.#handle.recvStart();
    if (error !== 0) {
      const { name } = this.identity;
      throw new MoultError(
        'MOULT_SYSTEM_CALL',
        `receiving on ${name} failed with ${getSystemErrorName(error)}`,
      );
    }
  }

  #warn(setting: string, error: number): void {
    const what = `${setting} on ${this.identity.name} failed with ${getSystemErrorName(error)}`;
    process.emitWarning(`${what}; it was put off until this generation received`, 'MoultWarning');
  }
}

/** Settles when none of these sockets has sent anything for {@link QUIET_MS}. */
export async function quiet(listeners: readonly DatagramListener[]): Promise<void> {
  for (;;) {
    const leftMs = Math.max(0, ...listeners.map(({ quietInMs }) => quietInMs));
    if (leftMs === 0) return;
    await new Promise((resolve) => setTimeout(resolve, leftMs));
  }
}
