/*
 * What systemd says to a process that it starts, through the environment. Each variable is taken out: the
 * service is no main process of a unit, and what it said in that role would be heard as said by its starter.
 * Sources: sd_notify(3), sd_watchdog_enabled(3), systemd.exec(5) "Environment Variables in Spawned Processes".
 */

const NOTIFY_SOCKET = 'NOTIFY_SOCKET';
const WATCHDOG_USEC = 'WATCHDOG_USEC';
const WATCHDOG_PID = 'WATCHDOG_PID';
const FDSTORE = 'FDSTORE';

/** The service manager that started this process, as plain data. */
export interface ServiceManager {
  /** Where it listens for notifications: a path, or an abstract name with `@` first. */
  readonly notifySocket: string;
  /** It ends the service when it hears nothing for so long; null for no watchdog. */
  readonly watchdogMs: number | null;
  /** How many descriptors it stores for the service; null where it does not say, as before version 254. */
  readonly storeMax: number | null;
}

/**
 * Takes what a service manager says out of an environment.
 * @returns undefined when there is none, or it wants no notifications, or they cannot reach it from here (`vsock:`).
 */
export function takeServiceManager(env: NodeJS.ProcessEnv, pid = process.pid): ServiceManager | undefined {
  const notifySocket = env[NOTIFY_SOCKET] ?? '';
  const usec = wholeNumber(env[WATCHDOG_USEC]);
  const watched = env[WATCHDOG_PID] === undefined || Number(env[WATCHDOG_PID]) === pid;
  const storeMax = wholeNumber(env[FDSTORE]) ?? null;
  for (const name of [NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID, FDSTORE]) delete env[name];
  if (!/^[/@]./.test(notifySocket)) return undefined;
  return { notifySocket, watchdogMs: watched && usec ? usec / 1000 : null, storeMax };
}

/** The variables by which a successor of this process finds the same manager. */
export function managerVariables({
  notifySocket,
  watchdogMs,
  storeMax,
}: ServiceManager): Record<string, string> {
  return {
    [NOTIFY_SOCKET]: notifySocket,
    ...(watchdogMs === null ? {} : { [WATCHDOG_USEC]: String(Math.round(watchdogMs * 1000)) }),
    ...(storeMax === null ? {} : { [FDSTORE]: String(storeMax) }),
  };
}

/** A number of decimal digits, as systemd writes it. */
export function wholeNumber(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}
