import type { ChildProcess } from 'node:child_process';
import type { Writable } from 'node:stream';
import { type Exit, type Launch, launch, reap, signal, startTicks } from '../os/process.js';
import { OutputTail, passThrough } from './output.js';

/** So often it is looked whether a process that this program did not start has ended. */
const LOOK_MS = 200;

/** Where the output of a service goes. */
export interface Outputs {
  readonly stdout: Writable;
  readonly stderr: Writable;
}

/** A process and all that it started: a group of its own. */
export interface ProcessTree {
  readonly pid: number;
  /** Settles when the first process of the tree has ended. */
  readonly exited: Promise<Exit>;
  /** The last lines that it wrote, as far as they came through this program. */
  readonly output: OutputTail;
}

/** Starts a tree; a command that cannot be started is a tree that has ended with code 127. */
export function startTree(what: Launch, outputs: Outputs): ProcessTree {
  const child = launch(what);
  const output = new OutputTail();
  if (child.stdout !== null) passThrough(child.stdout, outputs.stdout, output);
  if (child.stderr !== null) passThrough(child.stderr, outputs.stderr, output);
  const exited = exitOf(child, (message) => output.add(Buffer.from(`${message}\n`)));
  return { pid: child.pid ?? -1, exited, output };
}

/** Settles when a child has ended; one that cannot be started has ended with code 127. */
export function exitOf(child: ChildProcess, onFailure: (message: string) => void): Promise<Exit> {
  return new Promise((resolve) => {
    child.once('error', (error) => {
      onFailure(error.message);
      resolve({ code: 127, signal: null });
    });
    // The last output of a process may come after its end.
    child.once('exit', (code, name) => setImmediate(() => resolve({ code, signal: name })));
  });
}

/**
 * Takes over a tree that an earlier program started.
 * @returns undefined when that process has ended, and its number may mean another.
 */
export function adoptTree(pid: number, ticks: number): ProcessTree | undefined {
  // What has ended and is a child of ours is collected here.
  if (startTicks(pid) !== ticks && reap(pid) !== 'living') return undefined;
  const exited = new Promise<Exit>((resolve) => {
    const look = setInterval(() => {
      // The kernel may call it a zombie while some of its threads still run: a child of ours is collected later.
      const isGone = startTicks(pid) !== ticks;
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
