import type { Command } from 'commander';

/** The commands of the program by name; each is a file of its own, and what only another one needs is not loaded. */
export type Commands = Readonly<Record<string, () => Promise<Command>>>;

/** Those that only ask a supervisor that runs; `OPERATOR_COMMANDS` in main.ts has their names. */
export const operatorCommands: Commands = {
  restart: async () => (await import('./commands/restart.js')).restartCommand(),
  rollback: async () => (await import('./commands/rollback.js')).rollbackCommand(),
  scale: async () => (await import('./commands/scale.js')).scaleCommand(),
  status: async () => (await import('./commands/status.js')).statusCommand(),
  history: async () => (await import('./commands/history.js')).historyCommand(),
  metrics: async () => (await import('./commands/metrics.js')).metricsCommand(),
  stop: async () => (await import('./commands/stop.js')).stopCommand(),
};
