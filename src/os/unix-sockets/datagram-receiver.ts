import { rmSync } from 'node:fs';
import { closeDescriptor } from '../descriptors/descriptor.js';
import {
  AF_UNIX,
  keepAlive,
  lastErrorName,
  libc,
  MSG_CMSG_CLOEXEC,
  MSG_DONTWAIT,
  MSG_TRUNC,
  SCM_CREDENTIALS,
  SCM_RIGHTS,
  SO_PASSCRED,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOL_SOCKET,
  systemCallError,
} from '../libc.js';
import type { PeerCredentials } from './peer.js';
import { unixAddress } from './unix-socket.js';

const CONTROL_HEADER_BYTES = 16;
const CREDENTIALS_BYTES = 12;
/** Room for credentials and as many descriptors as one message may have. Source: SCM_MAX_FD. */
const CONTROL_BYTES = 2 * CONTROL_HEADER_BYTES + 16 + 253 * 4 + 8;

/** One datagram, and who sent it as the kernel knows it. */
export interface ReceivedDatagram {
  readonly text: string;
  readonly sender: PeerCredentials;
  /** What came beside it; the receiver's to close. */
  readonly descriptors: readonly number[];
}

/** A Unix datagram socket at a path of its own, read without ever waiting. */
export class DatagramReceiver {
  readonly path: string;
  readonly #fd: number;
  readonly #bytes: Buffer;
  readonly #control = Buffer.alloc(CONTROL_BYTES);

  /**
   * @param maxBytes longer datagrams are dropped.
   * @throws MOULT_SYSTEM_CALL when the path cannot be bound.
   */
  constructor(path: string, maxBytes: number) {
    this.path = path;
    this.#bytes = Buffer.alloc(maxBytes);
    this.#fd = libc().socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (this.#fd < 0) throw systemCallError('socket');
    const address = unixAddress(path);
    const yes = Buffer.from([1, 0, 0, 0]);
    if (
      libc().setsockopt(this.#fd, SOL_SOCKET, SO_PASSCRED, yes, yes.length) !== 0 ||
      libc().bind(this.#fd, address, address.length) !== 0
    ) {
      const error = systemCallError('bind', path);
      closeDescriptor(this.#fd);
      throw error;
    }
  }

  /** The next datagram; undefined when there is none. One that is too long, or of nobody, is dropped. */
  next(): ReceivedDatagram | undefined {
    for (;;) {
      const received = this.#receive();
      if (received === undefined) return undefined;
      if (received !== 'dropped') return received;
    }
  }

  close(): void {
    closeDescriptor(this.#fd);
    rmSync(this.path, { force: true });
  }

  #receive(): ReceivedDatagram | 'dropped' | undefined {
    const c = libc();
    const vector = Buffer.alloc(16);
    vector.writeBigUInt64LE(c.address(this.#bytes), 0);
    vector.writeBigUInt64LE(BigInt(this.#bytes.length), 8);
    const header = Buffer.alloc(56);
    header.writeBigUInt64LE(c.address(vector), 16);
    header.writeBigUInt64LE(1n, 24);
    header.writeBigUInt64LE(c.address(this.#control), 32);
    header.writeBigUInt64LE(BigInt(this.#control.length), 40);
    const length = c.recvmsg(this.#fd, header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    const reason = length < 0 ? lastErrorName() : undefined;
    keepAlive(vector, this.#bytes, this.#control);
    if (reason !== undefined) return reason === 'EINTR' ? 'dropped' : undefined;
    const { descriptors, sender } = this.#beside(Number(header.readBigUInt64LE(40)));
    const isWhole = (header.readInt32LE(48) & MSG_TRUNC) === 0;
    if (isWhole && sender !== undefined)
      return { text: this.#bytes.toString('utf8', 0, length), sender, descriptors };
    descriptors.forEach(closeDescriptor);
    return 'dropped';
  }

  #beside(controlBytes: number): { descriptors: number[]; sender: PeerCredentials | undefined } {
    const control = this.#control;
    const descriptors: number[] = [];
    let sender: PeerCredentials | undefined;
    for (let at = 0; at + CONTROL_HEADER_BYTES <= controlBytes; ) {
      const length = Number(control.readBigUInt64LE(at));
      if (length < CONTROL_HEADER_BYTES || at + length > controlBytes) break;
      const type = control.readInt32LE(at + 8) === SOL_SOCKET ? control.readInt32LE(at + 12) : -1;
      const from = at + CONTROL_HEADER_BYTES;
      if (type === SCM_RIGHTS)
        for (let fd = from; fd + 4 <= at + length; fd += 4) descriptors.push(control.readInt32LE(fd));
      if (type === SCM_CREDENTIALS && length >= CONTROL_HEADER_BYTES + CREDENTIALS_BYTES) {
        sender = {
          pid: control.readInt32LE(from),
          uid: control.readUInt32LE(from + 4),
          gid: control.readUInt32LE(from + 8),
        };
      }
      at += Math.ceil(length / 8) * 8;
    }
    return { descriptors, sender };
  }
}
