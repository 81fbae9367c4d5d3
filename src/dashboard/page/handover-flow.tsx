import type { Fact, GenerationView, ServiceHistory } from '../page-messages.js';
import { colourClass } from './colours.js';
import { figure } from './format.js';

/** Connections on their way from one generation to the next, while there are two; and what became of the last ones. */
export function HandoverFlow({ history }: { history: ServiceHistory }) {
  const pairs = pairsOf(history);
  if (pairs.length === 0) return null;
  return (
    <section aria-labelledby="flow">
      <h2 id="flow">Connections</h2>
      {pairs.map(({ from, to, moved, isMoving }) => (
        <div key={to.generation} class="flow">
          <Side one={from} word={from.state === 'draining' ? 'drains' : 'stands by'} />
          <div class={`stream${isMoving ? ' stream-moving' : ''}`}>
            <svg viewBox="0 0 100 20" preserveAspectRatio="none" aria-hidden="true">
              <path d="M0 10 C 30 2, 70 18, 100 10" />
            </svg>
            <span>{moved === undefined ? 'moving' : `${figure(moved)} moved`}</span>
          </div>
          <Side one={to} word="serves" />
        </div>
      ))}
    </section>
  );
}

function Side({ one, word }: { one: GenerationView; word: string }) {
  return (
    <div class={`side ${colourClass(one.generation)}`}>
      <strong>{figure(one.connections)}</strong>
      <span>
        generation {one.generation} {word}
      </span>
    </div>
  );
}

interface Pair {
  readonly from: GenerationView;
  readonly to: GenerationView;
  readonly moved: number | undefined;
  readonly isMoving: boolean;
}

function pairsOf({ view, facts }: ServiceHistory): Pair[] {
  return view.generations.flatMap((to) => {
    const took = facts.findLast((fact) => isTakeOver(fact, to.generation));
    const from = view.generations.find(
      ({ generation, slot, state }) =>
        generation < to.generation &&
        slot === to.slot &&
        ['probation', 'draining', 'committing'].includes(state),
    );
    if (from === undefined || from.state === 'serving') return [];
    const moved = took?.facts as { moved?: number } | undefined;
    const isMoving = moved === undefined || (from.connections ?? 0) > 0;
    return [{ from, to, moved: moved?.moved, isMoving }];
  });
}

function isTakeOver({ event, stage, generation }: Fact, of: number): boolean {
  return event === 'stage' && stage === 'connections' && generation === of;
}
