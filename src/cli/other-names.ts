const STATUS = 'moult status shows what runs';
const RUN = 'moult run <script.js | command …> starts a service, in the foreground';
const RESTART = 'moult restart [name] replaces a running service with its next version';
const STOP = 'moult stop [name] ends a service';
const LOGS = 'moult logs [name] shows the recent output of a service';
const BOOT = 'moult systemd prints a unit that starts a service at boot';

/** What other tools call a command, and which of moult's does it. */
export const otherNames: Readonly<Record<string, string | undefined>> = {
  ls: STATUS,
  list: STATUS,
  l: STATUS,
  ps: STATUS,
  info: STATUS,
  show: STATUS,
  describe: STATUS,
  monit: 'moult status --watch shows what runs, refreshed every second',
  start: RUN,
  exec: RUN,
  reload: RESTART,
  deploy: RESTART,
  gracefulReload: RESTART,
  delete: STOP,
  del: STOP,
  kill: STOP,
  quit: STOP,
  undo: 'moult rollback [name] goes back to the release before',
  revert: 'moult rollback [name] goes back to the release before',
  update: 'moult upgrade [name] replaces the program of the supervisor',
  startup: BOOT,
  save: BOOT,
  resurrect: BOOT,
  log: LOGS,
  tail: LOGS,
  flush: LOGS,
  reloadLogs: 'moult logs --reopen opens the output file of a service anew',
};
