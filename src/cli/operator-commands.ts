import type { Commands } from './command-table.js';

/** Those that only ask a supervisor that runs; `OPERATOR_COMMANDS` in main.ts has their names. */
export const operatorCommands: Commands = {
  restart: async () => (await import('./operate/restart.js')).restartCommand(),
  rollback: async () => (await import('./operate/rollback.js')).rollbackCommand(),
  scale: async () => (await import('./operate/scale.js')).scaleCommand(),
  status: async () => (await import('./operate/status.js')).statusCommand(),
  history: async () => (await import('./operate/history.js')).historyCommand(),
  logs: async () => (await import('./operate/logs.js')).logsCommand(),
  metrics: async () => (await import('./operate/metrics.js')).metricsCommand(),
  stop: async () => (await import('./operate/stop.js')).stopCommand(),
};
