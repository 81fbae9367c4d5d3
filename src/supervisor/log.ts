import { type Logger, pino } from 'pino';
import { build } from 'pino-pretty';

/** The supervisor's log, on stderr: for people on a terminal, JSON elsewhere. It never holds a secret. */
export function supervisorLog(name: string, level: string): Logger {
  const options = { name: 'moult', level, base: { service: name, pid: process.pid } };
  if (!process.stderr.isTTY) return pino(options, pino.destination({ dest: 2, sync: true }));
  const pretty = build({
    destination: 2,
    sync: true,
    colorize: process.env.NO_COLOR === undefined,
    ignore: 'pid,name,service,slot,time',
    messageFormat: 'moult: {msg}',
  });
  return pino(options, pretty);
}
