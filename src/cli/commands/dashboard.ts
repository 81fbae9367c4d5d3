import { Command } from 'commander';
import { endpoint } from '../../config/options/values.js';
import { DashboardServer } from '../../dashboard/dashboard-server.js';
import type { ShownFleet } from '../../dashboard/watched-fleet.js';
import type { EndpointAddress } from '../../endpoint/address.js';
import { paint } from '../../terminal/paint.js';
import { print, tell } from '../../terminal/print.js';
import { withFleet } from '../fleet/open.js';
import { ask, findService } from '../services/control.js';

interface Flags {
  readonly address: EndpointAddress;
  readonly link?: true;
  readonly fleet?: string;
}

/** The command `moult dashboard`: a page that shows services, until it is interrupted. Exit status: 0. */
export function dashboardCommand(): Command {
  return withFleet(new Command('dashboard'))
    .description('serve a page that shows all services of this user, or the one named')
    .argument('[name]', 'the service (default: all)')
    .option(
      '--address <address>',
      'where to serve it: 127.0.0.1:9465, a port, or unix:/path (default: a free port of 127.0.0.1)',
      endpoint,
    )
    .option('--link', 'print a link to the page of a service started with --dashboard, and exit')
    .action(async (name: string | undefined, flags: Partial<Flags>) => {
      if (flags.link === true) {
        const { link } = await ask(await findService(name), { type: 'dashboard' });
        print(String(link));
        return;
      }
      await serve(flags.address ?? { host: '127.0.0.1', port: 0 }, name, flags.fleet);
    });
}

async function serve(
  address: EndpointAddress,
  name: string | undefined,
  fleet: string | undefined,
): Promise<void> {
  const shown = fleet === undefined ? undefined : await fleetOf(fleet);
  const only = name === undefined ? {} : { only: await findService(name) };
  const server = new DashboardServer({
    address,
    ...only,
    ...(shown === undefined ? {} : { fleet: shown }),
    opened: (where, link) => {
      print(`${paint.green('✓')} the dashboard is served at ${where}`);
      print(`  open ${paint.bold(link)}`);
      print(paint.dim('  the link works once, in one browser; Ctrl-C stops the dashboard'));
    },
    failed: ({ message }) => tell(`${message}; moult keeps trying`),
    entered: () => print(`  for another browser: ${server.link()}`),
  });
  // The server itself keeps no process alive.
  const alive = setInterval(() => {}, 60_000);
  await new Promise<void>((resolve) => {
    process.once('SIGINT', resolve).once('SIGTERM', resolve).once('SIGHUP', resolve);
  });
  clearInterval(alive);
  server.close();
  // An open connection would keep this process alive.
  await shown?.end();
}

// Nothing of fleets is loaded where none is asked for.
async function fleetOf(servers: string): Promise<ShownFleet> {
  const { fleetSettings } = await import('../../fleet/settings.js');
  const { FleetLooks } = await import('../fleet/show/fleet-now.js');
  const { fleetView } = await import('../fleet/show/fleet-view.js');
  const settings = await fleetSettings(servers);
  const looks = new FleetLooks(settings);
  return {
    name: settings.name,
    look: async () => fleetView(await looks.look()),
    end: () => looks.end(),
  };
}
