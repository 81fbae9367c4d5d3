import type { Socket } from 'node:net';
import { betweenWrites } from '../../node/http/standstill.js';
import { closeDescriptor, replaceDescriptor } from '../../os/descriptors/descriptor.js';
import { leaveEventLoops } from '../../os/descriptors/epoll.js';
import { isRegularFile } from '../../os/files/append-file.js';
import { FileWrites } from './file-writes.js';
import { readOn } from './first-output.js';

/** How long it is waited for the end of the line that the service is just writing. */
const LINE_END_MS = 2000;

/**
 * The supervisor's own standard output and error, for the time when the service's output need not come
 * through it any more: then its death cannot break the service's output, nor a slow reader of it the service.
 */
export class DirectOutput {
  #descriptors: readonly number[];
  /** Of the pipes with which this process was started. */
  #ends: readonly number[];
  #hasBegun = false;

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
    this.#hasBegun = true;
    if (output !== undefined) put(output, process.stdout);
    if (error !== undefined) put(error, process.stderr);
  }

  /**
   * The supervisor's output is another one: writes there from the next line on, or where it has not begun, when it does.
   * @param descriptors of standard output and standard error; they belong to this object.
   * @param done is called when nothing of this process's own goes to the old ones any more.
   */
  renew([output, error, ...others]: readonly number[], done: () => void): void {
    for (const fd of others) closeDescriptor(fd);
    // There was no room for both: what is there stays.
    if (output === undefined || error === undefined) {
      if (output !== undefined) closeDescriptor(output);
      return;
    }
    if (!this.#hasBegun) {
      for (const fd of this.#descriptors) closeDescriptor(fd);
      this.#descriptors = [output, error];
      done();
      return;
    }
    put(output, process.stdout, () => put(error, process.stderr, done));
  }

  /** The supervisor is gone: what comes through the old pipes is read here, or writing there would fail. */
  readOn(): void {
    const [output, error, ...others] = this.#ends;
    this.#ends = [];
    if (output !== undefined) readOn(output, () => waiting.get(1)?.fd ?? 1);
    if (error !== undefined) readOn(error, () => waiting.get(2)?.fd ?? 2);
    for (const fd of others) closeDescriptor(fd);
  }

  /** Gives them up. */
  close(): void {
    for (const fd of [...this.#descriptors, ...this.#ends]) closeDescriptor(fd);
    this.#descriptors = [];
    this.#ends = [];
  }
}

type Output = NodeJS.WriteStream & { readonly fd: 1 | 2 };

/** What waits to be put in the place of each output; when another supervisor has come meanwhile, its own is. */
const waiting = new Map<number, { fd: number; done: () => void }>();
/** Those outputs that are files. */
const files = new Map<number, FileWrites>();

function put(fd: number, stream: Output, done: () => void = () => {}): void {
  const place = stream.fd;
  const before = waiting.get(place);
  if (before !== undefined) {
    closeDescriptor(before.fd);
    const doneBefore = before.done;
    before.fd = fd;
    before.done = () => {
      doneBefore();
      done();
    };
    return;
  }
  const next = { fd, done };
  waiting.set(place, next);
  const exchange = () => {
    waiting.delete(place);
    leaveEventLoops(place);
    replaceDescriptor(next.fd, place);
    closeDescriptor(next.fd);
    if (!isRegularFile(place)) {
      files.get(place)?.end();
      files.delete(place);
    } else if (!files.has(place)) files.set(place, new FileWrites(stream));
    next.done();
  };
  const file = files.get(place);
  // A file is written to at once, so that nothing is under way but what waits for room on its disk.
  if (file !== undefined) file.betweenLines(exchange, LINE_END_MS);
  else betweenWrites(stream as unknown as Socket, exchange);
}
