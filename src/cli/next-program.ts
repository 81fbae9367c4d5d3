import { requireHere } from './require-here.js';

/*
 * How the program begins that has taken the place of a supervisor's (moult upgrade). What keeps it from loading, such as too
 * few descriptors, may pass, for the rehearsal has loaded the same files: it executes itself anew until it has loaded,
 * and what it was left stays open meanwhile. Nothing but Node is loaded with this file.
 */

/** How often it has begun, and which signals it has heard: for the program that begins in its place. */
const BEGUN = 'MOULT_BEGUN';
/** How many tries have short pauses, for half a minute; then it goes on with long ones, for whatever it holds is gone with its end. */
const QUICK_BEGINNINGS = 100;
const PAUSE_MS = 250;
const LONG_PAUSE_MS = 5000;
/** The signals at which it is to end. */
const ENDING: readonly string[] = ['SIGTERM', 'SIGINT'];

type Main = () => Promise<void>;
type Again = typeof import('./begin-again.js');

/** Whether this process has the place of a supervisor whose program it is to be, and has not taken what that one left. */
export function isNextProgram(): boolean {
  return process.env.MOULT_UPGRADE !== undefined && process.argv[2] === 'run';
}

/** Loads what {@link runNextProgram} loads: a rehearsal of it. @throws Error where that is not whole. */
export async function rehearseNextProgram(): Promise<void> {
  loadAgain();
  await import('./early-signals.js');
  await load();
}

/** Loads the whole program, and runs it. Where either fails before it has taken what is left to it, it begins again. */
export async function runNextProgram(): Promise<void> {
  const [begun = '0', ...heardBefore] = (process.env[BEGUN] ?? '0').split(' ');
  delete process.env[BEGUN];
  let heard: () => readonly string[] = () => heardBefore;
  let again: Again | undefined;
  // An import that fails here is caught, and rejects another promise of Node 20's loader that nobody can reach.
  process.on('unhandledRejection', ignore);
  try {
    again = loadAgain();
    const early = await import('./early-signals.js');
    early.hearEarly(heardBefore);
    heard = early.heardEarly;
    const main = await load();
    process.off('unhandledRejection', ignore);
    await main();
    if (isNextProgram()) throw new Error('it failed before it took over');
  } catch (error) {
    if (!isNextProgram()) throw error;
    process.on('unhandledRejection', ignore);
    const count = Number(begun) + 1;
    const isQuick = count < QUICK_BEGINNINGS;
    // Whoever wants it to end would wait in vain. What it holds is lost with its end, so not before.
    if (!isQuick && heard().some((name) => ENDING.includes(name))) {
      tell(error, 'ends as it was asked to');
      process.exit(1);
    }
    if (count === 1 || count % QUICK_BEGINNINGS === 0) tell(error);
    const pauseMs = isQuick ? PAUSE_MS : LONG_PAUSE_MS;
    await beginAgain(again, error, pauseMs, () => [String(count), ...heard()].join(' '));
  }
}

function ignore(): void {}

/** What `moult run` and its first steps need is loaded here, where it may fail. */
async function load(): Promise<Main> {
  const { libc } = await import('../os/libc.js');
  libc();
  const { main } = await import('./program.js');
  await import('./commands/run.js');
  return main;
}

// Before all others: what has failed to load once fails in this process again. Source: Node 20, its loader and its cache of package.json.
function loadAgain(): Again {
  const again = requireHere<Again>('./begin-again.cjs');
  again.prepare();
  return again;
}

/** @throws the reason, when even what it takes to begin again cannot be loaded: that may fail in this process for ever. */
async function beginAgain(
  loaded: Again | undefined,
  reason: unknown,
  pauseMs: number,
  words: () => string,
): Promise<never> {
  for (let count = 1; ; count += 1) {
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
    try {
      return (loaded ?? loadAgain()).beginAgain({ ...process.env, [BEGUN]: words() });
    } catch {
      if (loaded === undefined && count >= QUICK_BEGINNINGS) throw reason;
    }
  }
}

function tell(error: unknown, what = 'begins again'): void {
  try {
    process.stderr.write(`moult: the new program could not be loaded, and ${what}: ${String(error)}\n`);
  } catch {
    // Who reads it is gone.
  }
}
