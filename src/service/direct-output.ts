import { closeDescriptor, replaceDescriptor } from '../os/descriptor.js';

/**
 * The supervisor's own standard output and error, for the time when the service's output need not come
 * through it any more: then its death cannot break the service's output, nor a slow reader of it the service.
 */
export class DirectOutput {
  #descriptors: readonly number[];

  /** @param descriptors of standard output and standard error; they belong to this object. */
  constructor(descriptors: readonly number[]) {
    this.#descriptors = descriptors;
    // Until the change a write may meet the closed end of a supervisor that has just died.
    for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});
  }

  /** Writes there from now on. Children that are started from now on do so too. */
  begin(): void {
    this.#descriptors.slice(0, 2).forEach((fd, i) => {
      replaceDescriptor(fd, i + 1);
      closeDescriptor(fd);
    });
    for (const fd of this.#descriptors.slice(2)) closeDescriptor(fd);
    this.#descriptors = [];
  }

  /** Gives them up. */
  close(): void {
    for (const fd of this.#descriptors) closeDescriptor(fd);
    this.#descriptors = [];
  }
}
