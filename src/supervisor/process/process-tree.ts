import { Socket } from 'node:net';
import type { Writable } from 'node:stream';
import type { KeptOutput } from '../../logs/kept-output.js';
import type { KeptStream } from '../../logs/kept-records.js';
import { descriptorOf } from '../../node/handle.js';
import { type Launch, type Launched, launch, launchWithDescriptors } from '../../os/processes/launch.js';
import { type Exit, hasEnded, reap, signal } from '../../os/processes/process.js';
import { OutputTail, passThrough } from '../output/output-tail.js';

/** How often to check whether a process that this program did not start has ended. */
const LOOK_MS = 200;

/** Where the output of a service goes. */
export interface Outputs {
  readonly stdout: Writable;
  readonly stderr: Writable;
  /** Whether both are a file that is exchanged now and then: what is passed on there is passed in whole lines. */
  readonly isExchanged?: boolean;
  /** What keeps a copy of the output of this generation. */
  readonly keep?: (generation: number) => KeptOutput;
}

/** A process and all that it started: a group of its own. */
export interface ProcessTree {
  /** -1 where it could not be started. */
  readonly pid: number;
  /** Settles when the first process of the tree has ended. */
  readonly exited: Promise<Exit>;
  /** The last lines that it wrote, as far as they came through this program. */
  readonly output: OutputTail;
  /** The descriptors at which this program reads its output and its error output; none where it does not. */
  readonly outputEnds?: () => number[];
}

/** Starts a tree; a command that cannot be started is a tree that has ended with code 127. @param kept gets a copy of its output. */
export function startTree(what: Launch, outputs: Outputs, kept?: KeptOutput): ProcessTree {
  const first = launch(what);
  const output = new OutputTail();
  passOn(first, outputs, output, kept);
  const outputEnds = () =>
    [first.stdout, first.stderr].map((stream) => (stream instanceof Socket ? descriptorOf(stream) : -1));
  return { ...treeOf(first, output), outputEnds };
}

/** Passes on what a process writes, as far as it comes through this program. @param kept gets a copy, and is closed at its end. */
export function passOn(
  { stdout, stderr }: Pick<Launched, 'stdout' | 'stderr'>,
  outputs: Outputs,
  tail: OutputTail,
  kept?: KeptOutput,
): void {
  const both = (stream: KeptStream) => ({
    add: (chunk: Buffer) => {
      tail.add(chunk);
      kept?.add(stream, chunk);
    },
  });
  if (stdout !== null) passThrough(stdout, outputs.stdout, both('stdout'), outputs.isExchanged);
  if (stderr !== null) passThrough(stderr, outputs.stderr, both('stderr'), outputs.isExchanged);
  const ends = [stdout, stderr].map(
    (stream) => stream && new Promise((resolve) => stream.once('close', resolve)),
  );
  Promise.all(ends).then(() => kept?.close());
}

/** The same, with this program's own output for its output, and these descriptors from 3 on. */
export function startTreeWith(what: Launch, descriptors: readonly number[]): ProcessTree {
  return treeOf(launchWithDescriptors(what, descriptors));
}

/** The tree that begins with this process. @param output what it writes, as far as that comes through this program. */
export function treeOf({ pid, exited }: Launched, output = new OutputTail()): ProcessTree {
  const told = exited.then((exit) => {
    if (exit.notStarted !== undefined) output.add(Buffer.from(`${exit.notStarted}\n`));
    return exit;
  });
  return { pid, exited: told, output };
}

/**
 * Takes over a tree that an earlier program started.
 * @returns undefined when that process has ended, and its number may mean another.
 */
export function adoptTree(pid: number, ticks: number): ProcessTree | undefined {
  // What has ended and is a child of ours is collected here.
  if (hasEnded(pid, ticks) && reap(pid) !== 'living') return undefined;
  const exited = new Promise<Exit>((resolve) => {
    const look = setInterval(() => {
      // The kernel may call it a zombie while some of its threads still run: a child of ours is collected later.
      const isGone = hasEnded(pid, ticks);
      const exit = reap(pid) ?? (isGone ? { code: null, signal: null } : 'living');
      if (exit === 'living') return;
      clearInterval(look);
      resolve(exit);
    }, LOOK_MS).unref();
  });
  return { pid, exited, output: new OutputTail() };
}

/** Ends a whole tree at once. */
export function killTree({ pid }: ProcessTree): void {
  if (pid > 0) signal(-pid, 'SIGKILL');
}
