import { Command } from 'commander';
import { pause } from '../../fleet/pause.js';
import { isHeard, membersOf, rollOf } from '../../fleet/roster.js';
import { FleetStore } from '../../fleet/store/store.js';
import { clearScreen, outliveReader, print, printJson } from '../../terminal/print.js';
import { screenOf } from '../../terminal/screen.js';
import { settingsFrom, withFleet } from './open.js';
import { type FleetNow, statusText } from './status-text.js';

const WATCH_MS = 2000;

interface Flags {
  readonly fleet?: string;
  readonly json?: true;
  readonly watch?: true;
}

/** The command `moult fleet status`: hosts and what they run. Exit status: 1 where a host is silent or lags behind. */
export function statusCommand(): Command {
  return withFleet(new Command('status'))
    .description('show the hosts of the fleet, what they run, and who lags behind')
    .argument('[name]', 'the service (default: all)')
    .option('--json', 'print JSON')
    .option('--watch', 'refresh every two seconds until interrupted')
    .action(async (name: string | undefined, flags: Flags) => {
      const settings = await settingsFrom(flags.fleet);
      let isRead = true;
      outliveReader(() => {
        isRead = false;
      });
      let store = await FleetStore.open(settings);
      try {
        do {
          if (store.connection.isClosed()) store = await FleetStore.open(settings);
          const fleet = await fleetNow(store, settings.name, name);
          if (flags.json === true) printJson(jsonOf(fleet));
          else {
            if (flags.watch === true) clearScreen();
            print(statusText(fleet, screenOf(process.stdout).columns));
          }
          const isWell = fleet.services.every(({ members }) => members.every(isHeard));
          process.exitCode = isWell ? 0 : 1;
          if (flags.watch === true) await pause(WATCH_MS);
        } while (flags.watch === true && isRead);
      } finally {
        await store.close();
      }
    });
}

async function fleetNow(store: FleetStore, name: string, service: string | undefined): Promise<FleetNow> {
  const members = await membersOf(store, service);
  const services = [...new Set(members.map((one) => one.service))];
  return {
    name,
    services: await Promise.all(
      services.map(async (one) => {
        const found = await rollOf(store, one);
        return {
          service: one,
          members: members.filter((member) => member.service === one),
          roll: found !== undefined && 'roll' in found ? found.roll : undefined,
          trouble: found !== undefined && 'trouble' in found ? found.trouble : undefined,
        };
      }),
    ),
  };
}

function jsonOf({ name, services }: FleetNow): object {
  return {
    fleet: name,
    services: services.map(({ service, members, roll, trouble }) => ({
      service,
      ...(roll === undefined ? {} : { roll }),
      ...(trouble === undefined ? {} : { trouble }),
      hosts: members.map(({ host, record, alive, trouble: theirs }) => ({
        host,
        state: alive?.state ?? 'silent',
        ...(record === undefined ? {} : { record }),
        ...(alive === undefined ? {} : { alive }),
        ...(theirs === undefined ? {} : { trouble: theirs }),
      })),
    })),
  };
}
