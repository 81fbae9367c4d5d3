/** Those that a supervisor heeds, and that would end a process which does not listen to them yet. */
const HEEDED = ['SIGTERM', 'SIGINT', 'SIGQUIT', 'SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const;

const heard = new Set<NodeJS.Signals>();
const note = (name: NodeJS.Signals) => void heard.add(name);

/**
 * Keeps what comes from now on, for a program that has taken the place of one that listened: before it loads the rest.
 * @param before those that this process heard before it began anew.
 */
export function hearEarly(before: readonly string[] = []): void {
  for (const name of HEEDED) {
    if (before.includes(name)) note(name);
    process.on(name, note);
  }
}

/** Those that came, and were not passed on yet. */
export function heardEarly(): readonly NodeJS.Signals[] {
  return [...heard];
}

/** Gives those that came to who listens to them by now. */
export function passEarlyOn(names: readonly NodeJS.Signals[]): void {
  for (const name of names) {
    process.off(name, note);
    if (heard.delete(name)) process.emit(name, name);
  }
}
