import type { Logger } from 'pino';
import type { EndpointAddress } from '../endpoint/address.js';
import type { Exposition } from '../metrics/exposition.js';
import type { Supervisor } from '../supervisor/supervisor.js';

/** Who is to look on while a service runs. */
export interface ObserverFlags {
  readonly metrics?: EndpointAddress;
}

/**
 * Has those look on that the options of `moult run` name. What they need is loaded only for them, and nothing that goes wrong
 * with them reaches the service.
 * @returns ends that.
 */
export function observe(
  supervisor: Supervisor,
  service: string,
  flags: ObserverFlags,
  log: Logger,
): () => void {
  const ends: (() => void)[] = [];
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
  const begin = async (what: string, load: () => Promise<() => void>) => {
    try {
      const end = await load();
      if (isOver) end();
      else ends.push(end);
    } catch (error) {
      log.error(`${what}: ${String(error)}; the service is not concerned`);
    }
  };
  const { metrics } = flags;
  if (metrics !== undefined)
    begin('metrics', async () => {
      const { serveMetrics } = await import('../metrics/metrics-endpoint.js');
      return serveMetrics(metrics, await exposition(), log);
    });
  return () => {
    isOver = true;
    for (const end of ends.splice(0)) end();
  };
}
