import { join } from 'node:path';
import type { Logger } from 'pino';
import type { EndpointAddress } from '../endpoint/address.js';
import type { Exposition } from '../metrics/exposition.js';
import type { RunFolder } from '../supervisor/journal/run-folder.js';
import type { Supervisor } from '../supervisor/supervisor.js';
import { asksForTraces } from '../traces/asked-for.js';

/** Who is to look on while a service runs. */
export interface ObserverFlags {
  readonly metrics?: EndpointAddress;
  readonly dashboard?: EndpointAddress;
  /** Commands for the shell. */
  readonly onEvent?: readonly string[];
}

/** Ends one of them; the end of the supervisor waits for it, a few seconds at most. */
type End = () => void | Promise<void>;

/**
 * Has those look on that the options of `moult run` name. What they need is loaded only for them, and nothing that goes wrong
 * with them reaches the service.
 * @returns ends that.
 */
export function observe(
  supervisor: Supervisor,
  folder: RunFolder,
  flags: ObserverFlags,
  log: Logger,
): () => Promise<void> {
  const ends: End[] = [];
  const service = folder.name;
  let isOver = false;
  let made: Promise<Exposition> | undefined;
  const exposition = () => {
    made ??= import('../metrics/exposition.js').then(({ Exposition }) => {
      const one = new Exposition(service, supervisor);
      ends.push(() => one.close());
      return one;
    });
    return made;
  };
  supervisor.metrics = async () => (await exposition()).text();
  const begin = async (what: string, load: () => Promise<End>) => {
    try {
      const end = await load();
      if (isOver) await end();
      else ends.push(end);
    } catch (error) {
      log.error(`${what}: ${String(error)}; the service is not affected`);
    }
  };
  const { metrics } = flags;
  if (metrics !== undefined)
    begin('metrics', async () => {
      const { serveMetrics } = await import('../metrics/metrics-endpoint.js');
      return serveMetrics(metrics, await exposition(), log);
    });
  const { dashboard } = flags;
  if (dashboard !== undefined)
    begin('dashboard', async () => {
      const { DashboardServer } = await import('../dashboard/dashboard-server.js');
      const server = new DashboardServer({
        address: dashboard,
        only: folder,
        sessions: join(folder.path, 'dashboard-sessions'),
        opened: (where) =>
          log.info(
            `the dashboard is served at ${where} (moult dashboard --link ${folder.name} prints a link to it)`,
          ),
        failed: ({ message }) =>
          log.warn(`dashboard: ${message}; the service is not affected, and moult keeps trying`),
      });
      supervisor.dashboard = async () => server.link();
      return () => server.close();
    });
  for (const command of flags.onEvent ?? [])
    begin('--on-event', async () => {
      const { EventProgram } = await import('../events/event-program.js');
      const warn = (what: string) => log.warn(what);
      const program = new EventProgram({ command, service, cwd: process.cwd(), warn });
      for (const fact of supervisor.facts()) program.tell(fact);
      const unwatch = supervisor.watch((fact) => program.tell(fact));
      return () => {
        unwatch();
        return program.close();
      };
    });
  if (asksForTraces(process.env))
    begin('traces', async () => {
      const { exportTraces } = await import('../traces/exporter.js');
      const traces = await exportTraces(service);
      for (const fact of supervisor.facts()) traces.add(fact);
      const unwatch = supervisor.watch((fact) => traces.add(fact));
      return () => {
        unwatch();
        return traces.close();
      };
    });
  return async () => {
    isOver = true;
    await Promise.allSettled(ends.splice(0).map(async (end) => end()));
  };
}
