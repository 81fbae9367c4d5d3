import type { Fact, ServiceHistory } from '../page-messages.js';
import { dateTime, duration, text } from './format.js';
import { Scrollable } from './scrollable.js';

interface Stage {
  readonly name: string;
  readonly from: number;
  readonly ms: number;
}

/** The stages of the last restart, one below the other, and how it ended. */
export function Waterfall({ history }: { history: ServiceHistory }) {
  const last = lastRestart(history.facts);
  if (last === undefined) return null;
  const { generation, stages, end } = last;
  const began = stages[0]?.from ?? 0;
  const wholeMs = Math.max(1, ...stages.map(({ from, ms }) => from - began + ms));
  return (
    <section aria-labelledby="stages">
      <h2 id="stages">Restart to generation {generation}</h2>
      <ol class="waterfall">
        {stages.map(({ name, from, ms }) => (
          <li key={name}>
            <span class="stage-name">{name}</span>
            <span class="stage-track">
              <span
                class="stage-bar"
                style={{
                  left: `${((from - began) / wholeMs) * 100}%`,
                  width: `${Math.max(0.5, (ms / wholeMs) * 100)}%`,
                }}
              />
            </span>
            <span class="stage-time">{duration(ms)}</span>
          </li>
        ))}
      </ol>
      <Outcome end={end} />
    </section>
  );
}

function Outcome({ end }: { end: Fact | undefined }) {
  if (end === undefined) return <p class="outcome">Under way.</p>;
  const output = Array.isArray(end.output) ? end.output.map(String) : [];
  const hasFailed = end.event === 'undone' || end.ok === false;
  return (
    <div class={hasFailed ? 'outcome outcome-bad' : 'outcome'}>
      <p>
        {hasFailed ? (
          <>
            <strong>{end.event === 'undone' ? 'Undone' : 'Failed'}</strong>
            {end.stage !== undefined && <> at {text(end.stage)}</>}: {text(end.message)}{' '}
            <code>{text(end.code)}</code>
          </>
        ) : end.event === 'confirmed' ? (
          'It has proved itself.'
        ) : (
          'It has taken over, and is watched.'
        )}{' '}
        <small>{dateTime(end.at)}</small>
      </p>
      {output.length > 0 && (
        <>
          <h3>Its last output</h3>
          <Scrollable label="Last output of the release that failed">
            <pre>{output.join('\n')}</pre>
          </Scrollable>
        </>
      )}
    </div>
  );
}

function lastRestart(facts: readonly Fact[]) {
  const ended = (fact: Fact) => ['restart', 'undone', 'confirmed'].includes(fact.event);
  const isOfRestart = (fact: Fact) =>
    fact.event === 'stage' || (fact.event === 'restart' && fact.ok !== true);
  const generation = facts.findLast(isOfRestart)?.generation;
  if (generation === undefined) return undefined;
  const own = facts.filter((fact) => fact.generation === generation);
  const stages = own
    .filter(({ event }) => event === 'stage')
    .map(
      ({ at, ms, stage }): Stage => ({ name: text(stage), from: at - Number(ms ?? 0), ms: Number(ms ?? 0) }),
    );
  return { generation, stages, end: own.findLast(ended) };
}
