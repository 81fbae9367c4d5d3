import { Command } from 'commander';
import { pause } from '../../fleet/pause.js';
import { isHeard } from '../../fleet/roster.js';
import { clearScreen, outliveReader, print, printJson, tell } from '../../terminal/print.js';
import { screenOf } from '../../terminal/screen.js';
import { settingsFrom, withFleet } from './open.js';
import { FleetLooks, type FleetNow } from './show/fleet-now.js';
import { statusText } from './show/status-text.js';

const WATCH_MS = 2000;

interface Flags {
  readonly fleet?: string;
  readonly json?: true;
  readonly watch?: true;
}

/** The command `moult fleet status`: hosts and what they run. Exit status: 1 where a host is silent, or none runs the service. */
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
      const looks = new FleetLooks(settings, name);
      try {
        for (let times = 1; isRead; times += 1) {
          // Who watches waits for servers that are away for a while.
          const fleet = await looks.look().catch((error: unknown) => {
            if (times === 1) throw error;
            tell(`${messageOf(error)}; retrying`);
          });
          if (fleet !== undefined) show(fleet, name, flags);
          if (flags.watch !== true) return;
          await pause(WATCH_MS);
        }
      } finally {
        await looks.end();
      }
    });
}

function show(fleet: FleetNow, name: string | undefined, { json, watch }: Flags): void {
  const isMissing = name !== undefined && fleet.services.length === 0;
  if (json === true) printJson(jsonOf(fleet));
  else {
    if (watch === true) clearScreen();
    if (isMissing) print(`no host of this fleet runs ${name}; moult fleet status lists the services`);
    else print(statusText(fleet, screenOf(process.stdout).columns));
  }
  const isWell = !isMissing && fleet.services.every(({ members }) => members.every(isHeard));
  process.exitCode = isWell ? 0 : 1;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
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
