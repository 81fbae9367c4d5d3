import { hostname } from 'node:os';
import { Command } from 'commander';
import { Leader } from '../../fleet/leader/leader.js';
import { pause } from '../../fleet/pause.js';
import { namesIn } from '../../fleet/store/keys.js';
import { FleetStore } from '../../fleet/store/store.js';
import { print, tell } from '../../terminal/print.js';
import { settingsFrom, withFleet } from './open.js';

const AGAIN_MS = 2000;

/** The command `moult fleet lead`: leads rolls from a machine that has no service, for fleets whose hosts may only speak of themselves. */
export function leadCommand(): Command {
  return withFleet(new Command('lead'))
    .description('lead the rolls of all services from this machine, until interrupted')
    .action(async ({ fleet }: { fleet?: string }) => {
      const settings = await settingsFrom(fleet);
      const ending = new AbortController();
      for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => ending.abort());
      const log = { info: (what: string) => print(what), warn: (what: string) => tell(what) };
      let wasOpen = false;
      while (!ending.signal.aborted) {
        try {
          const store = await FleetStore.open(settings);
          wasOpen = true;
          print(`ready to lead the rolls of fleet ${settings.name}`);
          await leadAll(store, `${hostname()} ${process.pid}`, log, ending.signal);
        } catch (error) {
          if (!wasOpen) throw error;
          tell(`moult: ${String(error)}; retrying in ${AGAIN_MS / 1000} s`);
        }
        await pause(AGAIN_MS, ending.signal);
      }
    });
}

// One leader for each service that has a roll.
async function leadAll(
  store: FleetStore,
  holder: string,
  log: { info(what: string): void; warn(what: string): void },
  signal: AbortSignal,
): Promise<void> {
  const leaders = new Map<string, Leader>();
  const over = new AbortController();
  const end = () => over.abort();
  store.connection.closed().then(end, end);
  const stop = await store.main.watch(
    'roll.*',
    ({ key }) => {
      const [service = ''] = namesIn(key);
      if (leaders.has(service)) return;
      const leader = new Leader({ store, service, holder, log });
      leaders.set(service, leader);
      leader.begin().catch(end);
    },
    { withValues: false },
  );
  await new Promise<void>((resolve) => {
    AbortSignal.any([signal, over.signal]).addEventListener('abort', () => resolve());
    if (signal.aborted || over.signal.aborted) resolve();
  });
  stop();
  for (const leader of leaders.values()) await leader.end();
  await store.close();
}
