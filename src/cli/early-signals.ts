/** Those that a supervisor heeds, and that would end a process which does not listen to them yet. */
const HEEDED = ['SIGTERM', 'SIGINT', 'SIGQUIT', 'SIGHUP', 'SIGUSR2'] as const;

const heard = new Set<NodeJS.Signals>();
const note = (name: NodeJS.Signals) => void heard.add(name);

/** Keeps what comes from now on, for a program that has taken the place of one that listened: before it loads the rest. */
export function hearEarly(): void {
  for (const name of HEEDED) process.on(name, note);
}

/** Gives those that came to who listens to them by now. */
export function passEarlyOn(names: readonly NodeJS.Signals[]): void {
  for (const name of names) {
    process.off(name, note);
    if (heard.delete(name)) process.emit(name, name);
  }
}
