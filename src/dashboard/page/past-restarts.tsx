import type { Fact } from '../page-messages.js';
import { dateTime, duration, figure, text } from './format.js';
import { Scrollable } from './scrollable.js';

/** Past restarts with their reasons, the newest first. */
export function PastRestarts({ restarts }: { restarts: readonly Fact[] }) {
  if (restarts.length === 0) return null;
  return (
    <section aria-labelledby="history">
      <h2 id="history">History</h2>
      <Scrollable label="Past restarts">
        <table>
          <thead>
            <tr>
              <th scope="col">When</th>
              <th scope="col">Generation</th>
              <th scope="col">Kind</th>
              <th scope="col">Result</th>
              <th scope="col">Took</th>
              <th scope="col">Moved</th>
              <th scope="col">Cut</th>
              <th scope="col">Release, and why</th>
            </tr>
          </thead>
          <tbody>
            {[...restarts].reverse().map((one) => (
              <tr key={`${one.generation} ${one.at}`} class={isBad(one) ? 'bad' : undefined}>
                <td>{dateTime(one.at)}</td>
                <td>{figure(one.generation)}</td>
                <td>{text(one.kind)}</td>
                <td>{text(one.result)}</td>
                <td>{typeof one.tookMs === 'number' ? duration(one.tookMs) : '–'}</td>
                <td>{figure(numberOf(one.moved))}</td>
                <td>{figure(Array.isArray(one.cut) ? one.cut.length : numberOf(one.cut))}</td>
                <td class="prose">
                  <code>{text(one.release)}</code>
                  {isBad(one) && (
                    <div>
                      {text(one.message)} {text(one.lastLine) !== '' && <code>{text(one.lastLine)}</code>}
                    </div>
                  )}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </Scrollable>
    </section>
  );
}

function isBad({ result }: Fact): boolean {
  return ['failed', 'undone', 'started again'].includes(text(result));
}

function numberOf(value: unknown): number | undefined {
  return typeof value === 'number' ? value : undefined;
}
