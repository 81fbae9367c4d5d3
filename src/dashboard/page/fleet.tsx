import type { FleetHostView, FleetServiceView, FleetView } from '../page-messages.js';
import { figure } from './format.js';
import { Scrollable } from './scrollable.js';

/** The hosts of a fleet, what they run, and how far its rolls are. */
export function Fleet({ fleet }: { fleet: FleetView }) {
  return (
    <>
      {fleet.silent !== undefined && (
        <p class="result-bad">
          The fleet cannot be reached ({fleet.silent}). What is shown is what was known last.
        </p>
      )}
      {fleet.services.length === 0 && <p class="empty">No hosts of fleet {fleet.name} are known yet.</p>}
      {fleet.services.map((one) => (
        <Service key={one.service} service={one} />
      ))}
    </>
  );
}

function Service({ service: { service, hosts, unshown, roll } }: { service: FleetServiceView }) {
  return (
    <section aria-label={service}>
      <h2>{service}</h2>
      <p class="soft">
        {hosts.length + unshown} hosts{roll !== '' && `, ${roll}`}
      </p>
      {hosts.length > 0 && (
        <Scrollable label={`Hosts of ${service}`}>
          <table>
            <thead>
              <tr>
                <th scope="col">Host</th>
                <th scope="col">Zone</th>
                <th scope="col">State</th>
                <th scope="col">Generation</th>
                <th scope="col">Connections</th>
                <th scope="col">Release, and what is on its way</th>
              </tr>
            </thead>
            <tbody>
              {hosts.map((one) => (
                <Host key={one.host} host={one} />
              ))}
            </tbody>
          </table>
        </Scrollable>
      )}
      {unshown > 0 && <p class="soft">{unshown} other hosts are not shown.</p>}
    </section>
  );
}

function Host({
  host: { host, zone, state, generation, connections, release, note },
}: {
  host: FleetHostView;
}) {
  return (
    <tr class={state === 'serving' ? undefined : 'bad'}>
      <td>{host}</td>
      <td>{zone === '' ? '–' : zone}</td>
      <td>{state}</td>
      <td>{figure(generation)}</td>
      <td>{figure(connections)}</td>
      <td class="prose">
        <code>{release}</code>
        {note !== '' && <div>{note}</div>}
      </td>
    </tr>
  );
}
