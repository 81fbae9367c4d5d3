import type { Commands } from './command-table.js';

/** Those that only ask a supervisor that runs; `OPERATOR_COMMANDS` in main.ts has their names. */
export const operatorCommands: Commands = {
  restart: async () => (await import('./commands/restart.js')).restartCommand(),
  rollback: async () => (await import('./commands/rollback.js')).rollbackCommand(),
  scale: async () => (await import('./commands/scale.js')).scaleCommand(),
  status: async () => (await import('./commands/status.js')).statusCommand(),
  history: async () => (await import('./commands/history.js')).historyCommand(),
  logs: async () => (await import('./commands/logs.js')).logsCommand(),
  metrics: async () => (await import('./commands/metrics.js')).metricsCommand(),
  stop: async () => (await import('./commands/stop.js')).stopCommand(),
};
