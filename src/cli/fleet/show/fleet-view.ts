import type { FleetView } from '../../../dashboard/page-messages.js';
import type { FleetNow } from './fleet-now.js';
import { noteOf, releaseOf, rollText, shownOf, stateOf } from './status-text.js';

/** A fleet as the dashboard shows it: what `moult fleet status` says. */
export function fleetView({ name, services }: FleetNow): FleetView {
  return {
    name,
    services: services.map(({ service, members, roll, trouble }) => {
      const shown = shownOf(members, roll);
      return {
        service,
        hosts: shown.map((one) => ({
          host: one.host,
          zone: one.record?.labels.zone ?? '',
          state: stateOf(one),
          release: releaseOf(one),
          note: noteOf(one, roll),
          ...(one.alive === undefined
            ? {}
            : { generation: one.alive.generation, connections: one.alive.connections }),
        })),
        unshown: members.length - shown.length,
        roll:
          trouble === undefined ? rollText(roll).replace(/^, /, '') : `its roll cannot be used: ${trouble}`,
      };
    }),
  };
}
