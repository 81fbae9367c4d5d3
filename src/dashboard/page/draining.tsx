import type { ServiceView } from '../page-messages.js';
import { duration, figure } from './format.js';
import { Scrollable } from './scrollable.js';

/** What still ends with generations that have been replaced: who, since when, why, and when it is cut. */
export function Draining({ view }: { view: ServiceView }) {
  const generations = view.generations.filter(
    ({ draining, connections = 0 }) => draining !== undefined && connections > 0,
  );
  if (generations.length === 0) return null;
  return (
    <section aria-labelledby="draining">
      <h2 id="draining">What still drains</h2>
      {generations.map(({ generation, draining, connections = 0 }) => (
        <div key={generation}>
          <p>
            <strong>{figure(connections)}</strong> connections of generation {generation}, cut in{' '}
            <strong>{duration(Math.max(0, draining?.cutInMs ?? 0))}</strong>
          </p>
          <Scrollable label={`Connections of generation ${generation}`}>
            <table>
              <thead>
                <tr>
                  <th scope="col">Client</th>
                  <th scope="col">Age</th>
                  <th scope="col">Kind</th>
                  <th scope="col">Why it has not moved</th>
                </tr>
              </thead>
              <tbody>
                {(draining?.connections ?? []).map(({ peer, ageMs, kind, reason }, i) => (
                  <tr key={`${peer} ${i}`}>
                    <td>{peer}</td>
                    <td>{duration(ageMs)}</td>
                    <td>{kind}</td>
                    <td class="prose">{reason}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </Scrollable>
          {connections > (draining?.connections?.length ?? 0) && (
            <p>
              <small>The first {draining?.connections?.length} of them.</small>
            </p>
          )}
        </div>
      ))}
    </section>
  );
}
