import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import type { MoultError } from '../../errors.js';
import { closeDescriptor } from '../descriptors/descriptor.js';
import { reserve } from '../descriptors/descriptor-reserve.js';
import { type HeldPipe, heldPipe, largePipe, openHeldPipe } from '../descriptors/pipe.js';
import { type Exit, signal } from './process.js';

/** How a process is to be started. */
export interface Launch {
  readonly command: string;
  /** What the program is told as its own name (default: the command). */
  readonly argv0?: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** A process that was started, or that could not be. */
export interface Launched {
  /** -1 where it could not be started. */
  readonly pid: number;
  /** What it writes, where that comes through this process. */
  readonly stdout: Readable | null;
  readonly stderr: Readable | null;
  /** Settles when it has ended; one that could not be started has ended with code 127, and says why. */
  readonly exited: Promise<Exit>;
  /** Ends it, and where it leads a group of its own, that. */
  kill(): void;
  /** Lets this process end before it. */
  unref(): void;
}

/** The exit code of what could not be started, as a shell has it. */
const NOT_STARTED = 127;

/** What people can do about it. Source: execve(2), fork(2), open(2). */
const REASONS: Readonly<Record<string, string>> = {
  EMFILE: 'this process has no descriptors left: see ulimit -n',
  ENFILE: 'the system has no open files left: see fs.file-max',
  EAGAIN: 'no more processes may be started: see ulimit -u, and pids.max of its cgroup',
  ENOMEM: 'there is no memory for another process',
  E2BIG: 'its arguments and environment are too large: one variable may have at most 128 KiB',
  EACCES: 'it is not executable by this user',
  ENOEXEC: 'it is not a program, and has no #! line that names an interpreter',
  ETXTBSY: 'it is open for writing',
};

/**
 * Starts a process by fork and exec, in a session and process group of its own: a Ctrl-C at the terminal
 * reaches only the supervisor, and the whole tree can be ended at once. No other descriptor is passed.
 * As all here it never throws: how a start may fail is told by `exited`, whatever the failure.
 * @param taken how many descriptors more it has from its first moment, which are of no use to it.
 */
export function launch(what: Launch, taken = 0): Launched {
  const outputs: [number, number][] = [];
  try {
    reserve.use(() => {
      for (let n = 0; n < 2; n += 1) outputs.push(largePipe());
    });
  } catch (error) {
    closeAll(outputs.flat());
    const { message, details } = error as MoultError;
    return failed(what, Object.assign(new Error(`spawn: ${message}`), { code: details?.reason }));
  }
  // Pipes, not the sockets that Node would make: only those can be opened by a name such as /dev/stdout. Source: open(2), ENXIO.
  const [out = -1, err = -1] = outputs.map(([, end]) => end);
  const launched = start(what, true, ['ignore', out, err, ...Array.from({ length: taken }, () => err)]);
  closeAll([out, err]);
  const [stdout = null, stderr = null] = outputs.map(
    ([fd]) => new Socket({ fd, readable: true, writable: false }),
  );
  for (const stream of [stdout, stderr]) stream?.on('error', () => {});
  return { ...launched, stdout, stderr };
}

function closeAll(fds: readonly number[]): void {
  for (const fd of fds) closeDescriptor(fd);
}

/** The same, with this process's own output for its output, and copies of these descriptors from 3 on, in their order. */
export function launchWithDescriptors(what: Launch, descriptors: readonly number[]): Launched {
  return start(what, true, ['ignore', 1, 2, ...descriptors]);
}

/**
 * The same, with a pipe to this process for each of its outputs. It holds both ends: when this process is gone no write of
 * it fails, but waits for the next reader ({@link readOutputOf}) once the pipe is full.
 */
export function launchWithPipes(what: Launch, descriptors: readonly number[]): Launched {
  const pipes: HeldPipe[] = [];
  try {
    reserve.use(() => {
      for (let n = 0; n < 2; n += 1) pipes.push(heldPipe());
    });
  } catch (error) {
    closeAll(pipes.flatMap(({ reader, both }) => [reader, both]));
    return failed(what, error);
  }
  const launched = start(what, true, ['ignore', ...pipes.map(({ both }) => both), ...descriptors]);
  closeAll(pipes.map(({ both }) => both));
  const [stdout = null, stderr = null] = pipes.map(({ reader }) => readable(reader));
  return { ...launched, stdout, stderr };
}

/** Reads on what a process writes that was started by {@link launchWithPipes} of an earlier program; null for what is no such pipe. */
export function readOutputOf(pid: number): Pick<Launched, 'stdout' | 'stderr'> {
  const read = (place: number) => {
    const reader = openHeldPipe(pid, place);
    return reader === undefined ? null : readable(reader);
  };
  return { stdout: read(1), stderr: read(2) };
}

function readable(fd: number): Socket {
  const socket = new Socket({ fd, readable: true, writable: false });
  socket.on('error', () => {});
  return socket;
}

/** Starts one in this process's own group, with its input and output. */
export function launchBeside(what: Launch): Launched {
  return start(what, false, 'inherit');
}

const launched = new Set<number>();

/** Whether this process has launched it, and has not heard of its end yet: then that is Node's to collect. */
export function isLaunched(pid: number): boolean {
  return launched.has(pid);
}

/*
 * Node throws what it takes for a mistake of the caller (E2BIG, ENOMEM, EPERM, a zero byte in the environment), tells
 * by an event what may pass (EAGAIN, EACCES, ENOENT), and with EMFILE and ENFILE makes no streams at all.
 * Source: node lib/internal/child_process.js, ChildProcess.prototype.spawn.
 */
function start(what: Launch, detached: boolean, stdio: StdioOptions): Launched {
  const { command, args, cwd, env, argv0 } = what;
  let child: ChildProcess;
  try {
    const named = argv0 === undefined ? {} : { argv0 };
    child = reserve.use(() => spawn(command, args, { cwd, env: { ...env }, detached, stdio, ...named }));
  } catch (error) {
    return failed(what, error);
  }
  // Without a process theirs are not connected, and say so.
  for (const stream of [child.stdout, child.stderr]) stream?.on('error', () => {});
  const pid = child.pid ?? -1;
  if (pid > 0) launched.add(pid);
  let isOver = false;
  const exited = new Promise<Exit>((resolve) => {
    // Not once: one that runs may have errors of its own, such as a signal that is not permitted.
    child.on('error', (error) => {
      if (child.pid === undefined) resolve(notStarted(what, error));
    });
    child.once('exit', (code, name) => {
      isOver = true;
      launched.delete(pid);
      // The last output of a process may come after its end.
      setImmediate(() => resolve({ code, signal: name }));
    });
  });
  return {
    pid,
    stdout: child.stdout ?? null,
    stderr: child.stderr ?? null,
    exited,
    kill: () => {
      if (pid > 0 && !isOver) signal(detached ? -pid : pid, 'SIGKILL');
    },
    unref: () => child.unref(),
  };
}

function failed(what: Launch, error: unknown): Launched {
  const exited = Promise.resolve(notStarted(what, error));
  return { pid: -1, stdout: null, stderr: null, exited, kill: () => {}, unref: () => {} };
}

function notStarted({ cwd }: Launch, error: unknown): Exit {
  const { code, message } = error as NodeJS.ErrnoException;
  const missing = existsSync(cwd)
    ? 'it, or its interpreter, does not exist'
    : `its folder ${cwd} does not exist`;
  const reason = code === 'ENOENT' ? missing : REASONS[code ?? ''];
  return {
    code: NOT_STARTED,
    signal: null,
    notStarted: reason === undefined ? message : `${message}: ${reason}`,
  };
}
