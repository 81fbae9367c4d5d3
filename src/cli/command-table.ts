import type { Command } from 'commander';

/** The commands of the program by name; each is a file of its own, and what only another one needs is not loaded. */
export type Commands = Readonly<Record<string, () => Promise<Command>>>;
