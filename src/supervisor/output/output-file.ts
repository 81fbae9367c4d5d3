import { closeSync, writeSync } from 'node:fs';
import { resolve } from 'node:path';
import { Writable } from 'node:stream';
import { MoultError } from '../../errors.js';
import { closeDescriptor, duplicate, replaceDescriptor } from '../../os/descriptors/descriptor.js';
import { type FileIdentity, identityOf, openToAppend } from '../../os/files/append-file.js';
import { WholeWrites } from '../../os/files/whole-writes.js';

const STDOUT = 1;
const STDERR = 2;
/** How long it is waited for the end of a line that comes through this process. */
const LINE_END_MS = 2000;

/**
 * The file of `--output`: it is standard output and standard error of this process, and so of all that it starts and gives
 * its output to. It is opened anew when it was moved aside.
 */
export class OutputFile {
  readonly path: string;
  /** Writes there what comes through this process. */
  readonly stream: Writable;
  readonly #writes: WholeWrites;
  #onFull: (error: Error) => void = () => {};
  /** What both were before; given back when the start fails, and closed when it does not. */
  #before: readonly number[];

  private constructor(path: string) {
    this.path = path;
    const fd = opened(path);
    this.#before = [duplicate(STDOUT), duplicate(STDERR)];
    put(fd);
    const writes = new WholeWrites(() => STDOUT, { onFull: (error) => this.#onFull(error) });
    this.#writes = writes;
    this.stream = new Writable({
      decodeStrings: true,
      write: (chunk: Buffer, _, done) => writes.write(chunk, done),
    });
    process.once('exit', () => writes.flush());
  }

  /**
   * Opens it, and puts it in the place of this process's standard output and error.
   * @throws MOULT_OUTPUT_FILE when it cannot be opened.
   */
  static begin(path: string, cwd: string): OutputFile {
    return new OutputFile(resolve(cwd, path));
  }

  /** Whom to tell of each time when it has no room. */
  onFull(handler: (error: Error) => void): void {
    this.#onFull = handler;
  }

  /** Says this where this process was started. */
  tellBefore(text: string): void {
    const [, error] = this.#before;
    try {
      if (error !== undefined) writeSync(error, text);
    } catch {
      // Nobody reads there.
    }
  }

  /** The start failed: what is said of it goes to where this process was started. */
  giveBack(): void {
    const [output, error] = this.#before;
    if (output !== undefined) replaceDescriptor(output, STDOUT);
    if (error !== undefined) replaceDescriptor(error, STDERR);
    this.keep();
  }

  /** The service serves: whoever waits for the end of what was output before need not wait for this process. */
  keep(): void {
    for (const fd of this.#before) closeDescriptor(fd);
    this.#before = [];
  }

  /**
   * Opens the file anew, between two lines of what comes through this process.
   * @returns which file it was, when this process writes to the new one.
   * @throws MOULT_OUTPUT_FILE when it cannot be opened; all goes on to be written to the old one then.
   */
  async reopen(): Promise<FileIdentity> {
    const fd = opened(this.path);
    const was = identityOf(STDOUT);
    await new Promise<void>((done) => this.#writes.betweenLines(done, LINE_END_MS));
    put(fd);
    return was;
  }
}

function opened(path: string): number {
  try {
    return openToAppend(path);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new MoultError('MOULT_OUTPUT_FILE', `the output file cannot be opened: ${reason}`, {
      serving: 'unchanged',
      cause,
    });
  }
}

function put(fd: number): void {
  for (const place of [STDOUT, STDERR]) replaceDescriptor(fd, place);
  closeSync(fd);
}
