import { useEffect, useState } from 'preact/hooks';
import type { ServiceHistory } from '../page-messages.js';
import { Actions } from './actions.js';
import { Charts } from './charts.js';
import { Draining } from './draining.js';
import { Fleet } from './fleet.js';
import { duration } from './format.js';
import { GenerationBars } from './generation-bars.js';
import { GenerationsTable } from './generations-table.js';
import { HandoverFlow } from './handover-flow.js';
import { PastRestarts } from './past-restarts.js';
import { type Known, Store } from './store.js';
import { Waterfall } from './waterfall.js';

const TICK_MS = 1000;
const NOTHING: Known = { services: new Map(), isLive: false, clockAheadMs: 0 };

/** The part of the address that stands for the fleet: no service has that name. */
const FLEET = '/fleet';

/** The page: one service of those that run, and the way to the others. */
export function App() {
  const [known, setKnown] = useState(NOTHING);
  const [chosen, setChosen] = useState(decodeURIComponent(location.hash.slice(1)));
  const [, setTick] = useState(0);
  const scheme = useScheme();
  useEffect(() => {
    const store = new Store(setKnown);
    store.open();
    const timer = setInterval(() => setTick((tick) => tick + 1), TICK_MS);
    const go = () => setChosen(decodeURIComponent(location.hash.slice(1)));
    addEventListener('hashchange', go);
    return () => {
      store.close();
      clearInterval(timer);
      removeEventListener('hashchange', go);
    };
  }, []);
  const names = [...known.services.keys()].sort();
  const { fleet } = known;
  const isFleet = fleet !== undefined && (chosen === FLEET || names.length === 0);
  const history = isFleet ? undefined : (known.services.get(chosen) ?? known.services.get(names[0] ?? ''));
  const now = Date.now() - known.clockAheadMs;
  return (
    <>
      <header>
        <h1>moult</h1>
        {names.length + (fleet === undefined ? 0 : 1) > 1 && (
          <nav aria-label="Services">
            {names.map((name) => (
              <a
                key={name}
                href={`#${encodeURIComponent(name)}`}
                aria-current={name === history?.view.name ? 'page' : undefined}
              >
                {name}
              </a>
            ))}
            {fleet !== undefined && (
              <a href={`#${FLEET}`} aria-current={isFleet ? 'page' : undefined}>
                fleet {fleet.name}
              </a>
            )}
          </nav>
        )}
        <span class={known.isLive ? 'live' : 'live live-off'}>
          {known.isLive ? 'live' : 'reconnecting …'}
        </span>
      </header>
      <main>
        {isFleet ? (
          <Fleet fleet={fleet} />
        ) : history === undefined ? (
          <Empty isLive={known.isLive} />
        ) : (
          <Service history={history} now={now} scheme={scheme} />
        )}
      </main>
    </>
  );
}

function Empty({ isLive }: { isLive: boolean }) {
  return (
    <p class="empty">
      {isLive ? 'No service runs. Start one with moult run.' : 'Waiting for the server of this page.'}
    </p>
  );
}

function Service({ history, now, scheme }: { history: ServiceHistory; now: number; scheme: string }) {
  const { view } = history;
  return (
    <>
      <section aria-labelledby="service" class="summary">
        <div>
          <h2 id="service">
            {view.name} <span class={`state state-${view.state}`}>{view.state}</span>
          </h2>
          <p>
            <code>{view.command}</code>
          </p>
          <p class="soft">
            supervisor {view.pid}, moult {view.version}, up {duration(Math.max(0, now - view.startedAt))},{' '}
            {view.restarts} restarts, {view.crashes} crashes
            {view.slots !== undefined && `, ${view.slots} slots`}
          </p>
          {view.silent !== undefined && (
            <p class="result-bad">
              The supervisor does not answer ({view.silent}). What is shown is what was known last.
            </p>
          )}
        </div>
        <Actions key={view.name} history={history} />
      </section>
      <GenerationsTable history={history} now={now} />
      <GenerationBars history={history} now={now} />
      <HandoverFlow history={history} />
      <Draining view={view} />
      <Waterfall history={history} />
      <Charts history={history} now={now} scheme={scheme} />
      <PastRestarts restarts={history.restarts} />
    </>
  );
}

function useScheme(): string {
  const query = matchMedia('(prefers-color-scheme: dark)');
  const [scheme, setScheme] = useState(query.matches ? 'dark' : 'light');
  useEffect(() => {
    const change = () => setScheme(query.matches ? 'dark' : 'light');
    query.addEventListener('change', change);
    return () => query.removeEventListener('change', change);
  }, [query]);
  return scheme;
}
