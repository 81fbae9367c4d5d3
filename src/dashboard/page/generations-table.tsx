import type { Sample, ServiceHistory } from '../page-messages.js';
import { colourClass } from './colours.js';
import { duration, figure, mebibytes } from './format.js';
import { Scrollable } from './scrollable.js';

/** The generations that live, with what they do at this moment. */
export function GenerationsTable({ history, now }: { history: ServiceHistory; now: number }) {
  const { view, samples } = history;
  const last = (generation: number): Sample | undefined =>
    samples.findLast((one) => one.generation === generation);
  const hasSlots = view.slots !== undefined;
  return (
    <Scrollable label="Generations that live">
      <table>
        <thead>
          <tr>
            {hasSlots && <th scope="col">Slot</th>}
            <th scope="col">Generation</th>
            <th scope="col">State</th>
            <th scope="col">Process</th>
            <th scope="col">Up</th>
            <th scope="col">Connections</th>
            <th scope="col">In flight</th>
            <th scope="col">Requests/s</th>
            <th scope="col">p99</th>
            <th scope="col">Memory</th>
          </tr>
        </thead>
        <tbody>
          {view.generations.map((one) => {
            const { requests, p99Ms } = last(one.generation) ?? {};
            return (
              <tr key={one.generation}>
                {hasSlots && <td>{figure(one.slot)}</td>}
                <td>
                  <span class={`swatch line ${colourClass(one.generation)}`} /> {one.generation}
                </td>
                <td>{one.state}</td>
                <td>{one.pid}</td>
                <td>{one.startedAt === undefined ? '–' : duration(Math.max(0, now - one.startedAt))}</td>
                <td>{figure(one.connections)}</td>
                <td>{figure(one.inFlight)}</td>
                <td>{figure(requests, 1)}</td>
                <td>{p99Ms === undefined ? '–' : `≤ ${duration(p99Ms)}`}</td>
                <td>{mebibytes(one.memoryBytes)}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </Scrollable>
  );
}
