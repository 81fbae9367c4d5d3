import { fstatSync } from 'node:fs';

/** What the supervisor says to a process through its environment. */
export interface StartedBy {
  /** The path of the supervisor's socket. */
  readonly supervisor: string;
  readonly generation: number;
  /** Which of several processes of the service it is, from 0 on; for the service itself. */
  readonly slot?: number | undefined;
  /** The names of the listeners that are held for the service. */
  readonly held?: readonly string[] | undefined;
  /** A service that shows no listener is ready so many milliseconds after its start; undefined for never. */
  readonly readyAfterMs?: number | undefined;
  /** One that is busy all the time is ready so many milliseconds after its start. */
  readonly busyReadyAfterMs?: number | undefined;
  /** A variable that has the number of the slot, too; 0 without slots. */
  readonly instanceVar?: string | undefined;
}

const SUPERVISOR = 'MOULT_SUPERVISOR';
const GENERATION = 'MOULT_GENERATION';
const NODE_OPTIONS_WAS = 'MOULT_NODE_OPTIONS_WAS';
const DIRECT = 'MOULT_DIRECT';
const SLOT = 'MOULT_SLOT';
const KOFFI = 'MOULT_KOFFI';
const HELD = 'MOULT_HELD';
const READY_AFTER = 'MOULT_READY_AFTER';
const PASSED = 'MOULT_PASSED';
/** More than this is not passed: the environment of a process has a limit. */
const MAX_HELD_CHARACTERS = 32_768;

/** The variables that start a process as this generation. @param isDirect whether the command itself is the service, not a wrapper. @param koffi the path of the package by which libc is called. */
export function variablesFor(
  started: StartedBy,
  isDirect: boolean,
  preload: string,
  koffi: string,
  nodeOptions = '',
): Record<string, string> {
  return {
    [SUPERVISOR]: started.supervisor,
    [GENERATION]: String(started.generation),
    [NODE_OPTIONS_WAS]: nodeOptions,
    // Before the user's own: what those open is the service's too.
    NODE_OPTIONS: `--require=${JSON.stringify(preload)} ${nodeOptions}`.trim(),
    [KOFFI]: koffi,
    ...(isDirect ? { [DIRECT]: '1' } : {}),
    ...(started.slot === undefined ? {} : { [SLOT]: String(started.slot) }),
    ...(started.instanceVar === undefined ? {} : { [started.instanceVar]: String(started.slot ?? 0) }),
    ...heldVariable(started.held ?? []),
    ...readyAfterVariable(started),
  };
}

function readyAfterVariable({ readyAfterMs, busyReadyAfterMs }: StartedBy): Record<string, string> {
  if (readyAfterMs === undefined) return {};
  return {
    [READY_AFTER]: [readyAfterMs, ...(busyReadyAfterMs === undefined ? [] : [busyReadyAfterMs])].join(' '),
  };
}

/** A listener whose descriptor a process has from its start. */
export interface PassedListener {
  readonly name: string;
  readonly path: string | null;
  readonly backlog: number;
  /** Its number in that process. */
  readonly fd: number;
  /** By which a process sees that the descriptor is this listener: a wrapper may have closed it. */
  readonly inode: number;
}

/** The variable that tells a process which descriptors it has from its start. */
export function passedVariable(passed: readonly PassedListener[]): Record<string, string> {
  return passed.length === 0 ? {} : { [PASSED]: JSON.stringify(passed) };
}

/** The listeners that this process has had from its start; those that did not arrive are left out. */
export function passedAtStart(env: NodeJS.ProcessEnv): PassedListener[] {
  try {
    const told = JSON.parse(env[PASSED] ?? '[]') as PassedListener[];
    return told.filter(({ fd, inode }) => isSocket(fd, inode));
  } catch {
    // Somebody has changed it.
    return [];
  }
}

function isSocket(fd: number, inode: number): boolean {
  try {
    const found = fstatSync(fd);
    return found.isSocket() && found.ino === inode;
  } catch {
    return false;
  }
}

function heldVariable(names: readonly string[]): Record<string, string> {
  const value = JSON.stringify(names);
  return names.length === 0 || value.length > MAX_HELD_CHARACTERS ? {} : { [HELD]: value };
}

/** Who started this process, or undefined when it was not moult. */
export function startedBy(env: NodeJS.ProcessEnv): StartedBy | undefined {
  const supervisor = env[SUPERVISOR];
  const generation = Number(env[GENERATION]);
  if (!supervisor || !Number.isInteger(generation) || generation < 1) return undefined;
  return { supervisor, generation };
}

/** The names of the listeners that are held for the service, as far as the supervisor said. */
export function heldIn(env: NodeJS.ProcessEnv): readonly string[] {
  try {
    const names: unknown = JSON.parse(env[HELD] ?? '[]');
    return Array.isArray(names) ? names.map(String) : [];
  } catch {
    // Somebody has changed it.
    return [];
  }
}

/** Removes every trace, so that the service's own children are not taken for it. */
export function scrub(env: NodeJS.ProcessEnv): void {
  const was = env[NODE_OPTIONS_WAS];
  if (was) env.NODE_OPTIONS = was;
  else delete env.NODE_OPTIONS;
  for (const name of [SUPERVISOR, GENERATION, NODE_OPTIONS_WAS, DIRECT, KOFFI, HELD, READY_AFTER, PASSED])
    delete env[name];
}
