import type { Socket } from 'node:net';
import { betweenWrites } from '../../node/http/standstill.js';
import { closeDescriptor, replaceDescriptor } from '../../os/descriptors/descriptor.js';
import { leaveEventLoops } from '../../os/descriptors/epoll.js';
import { readOn } from './first-output.js';

/**
 * The supervisor's own standard output and error, for the time when the service's output need not come
 * through it any more: then its death cannot break the service's output, nor a slow reader of it the service.
 */
export class DirectOutput {
  #descriptors: readonly number[];
  /** Of the pipes with which this process was started. */
  #ends: readonly number[];

  /**
   * @param descriptors of standard output and standard error, then the ends at which the supervisor reads what this
   *   process was started with; they belong to this object.
   */
  constructor([output, error, ...ends]: readonly number[]) {
    this.#descriptors = [output, error].filter((fd) => fd !== undefined);
    this.#ends = ends;
    // Until the change a write may meet the closed end of a supervisor that has just died.
    for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});
  }

  /**
   * Writes there from now on, or as soon as the old reader has taken what is being written. Children that are started
   * afterwards do so too.
   */
  begin(): void {
    const [output, error] = this.#descriptors;
    this.#descriptors = [];
    if (output !== undefined) put(output, process.stdout);
    if (error !== undefined) put(error, process.stderr);
  }

  /** The supervisor is gone: what comes through the old pipes is read here, or writing there would fail. */
  readOn(): void {
    const [output, error, ...others] = this.#ends;
    this.#ends = [];
    if (output !== undefined) readOn(output, () => waiting.get(1) ?? 1);
    if (error !== undefined) readOn(error, () => waiting.get(2) ?? 2);
    for (const fd of others) closeDescriptor(fd);
  }

  /** Gives them up. */
  close(): void {
    for (const fd of [...this.#descriptors, ...this.#ends]) closeDescriptor(fd);
    this.#descriptors = [];
    this.#ends = [];
  }
}

/** What waits to be put in the place of each output; when another supervisor has come meanwhile, its own is. */
const waiting = new Map<number, number>();

function put(fd: number, stream: NodeJS.WriteStream & { readonly fd: 1 | 2 }): void {
  const place = stream.fd;
  const before = waiting.get(place);
  waiting.set(place, fd);
  if (before !== undefined) {
    closeDescriptor(before);
    return;
  }
  betweenWrites(stream as unknown as Socket, () => {
    const last = waiting.get(place) ?? fd;
    waiting.delete(place);
    leaveEventLoops(place);
    replaceDescriptor(last, place);
    closeDescriptor(last);
  });
}
