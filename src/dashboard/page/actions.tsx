import { useEffect, useRef, useState } from 'preact/hooks';
import type { ActionResult, PageAction, ServiceHistory } from '../page-messages.js';
import { text } from './format.js';
import { ask } from './store.js';

type Kind = PageAction['action'];

const TITLES: Readonly<Record<Kind, string>> = { restart: 'Restart', rollback: 'Roll back', scale: 'Scale' };

/** Restart, roll back and scale: each says first what will happen, and afterwards what has. */
export function Actions({ history }: { history: ServiceHistory }) {
  const { view } = history;
  const [asked, setAsked] = useState<Kind | undefined>(undefined);
  const [busy, setBusy] = useState<Kind | undefined>(undefined);
  const [result, setResult] = useState<ActionResult | undefined>(undefined);
  const run = async (action: PageAction) => {
    setAsked(undefined);
    setBusy(action.action);
    setResult(undefined);
    setResult(await ask(action));
    setBusy(undefined);
  };
  const isOff = busy !== undefined || view.silent !== undefined;
  const kinds: readonly Kind[] = [
    'restart',
    'rollback',
    ...(view.slots === undefined ? [] : (['scale'] as const)),
  ];
  return (
    <div class="actions">
      <div class="buttons">
        {kinds.map((kind) => (
          <button key={kind} type="button" disabled={isOff} onClick={() => setAsked(kind)}>
            {busy === kind ? `${TITLES[kind]} …` : TITLES[kind]}
          </button>
        ))}
      </div>
      <p role="status" class={result?.ok === false ? 'result result-bad' : 'result'}>
        {busy !== undefined ? `${TITLES[busy]} of ${view.name} is under way.` : (result?.message ?? '')}
      </p>
      {asked !== undefined && (
        <Confirmation kind={asked} history={history} onClose={() => setAsked(undefined)} onGo={run} />
      )}
    </div>
  );
}

interface ConfirmationProps {
  readonly kind: Kind;
  readonly history: ServiceHistory;
  readonly onClose: () => void;
  readonly onGo: (action: PageAction) => void;
}

function Confirmation({ kind, history, onClose, onGo }: ConfirmationProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  const { name, slots = 1 } = history.view;
  const [wanted, setWanted] = useState(slots);
  useEffect(() => dialog.current?.showModal(), []);
  const go = (event: Event) => {
    event.preventDefault();
    onGo(kind === 'scale' ? { action: kind, service: name, slots: wanted } : { action: kind, service: name });
  };
  return (
    <dialog ref={dialog} aria-labelledby="confirmation" onClose={onClose}>
      <form method="dialog" onSubmit={go}>
        <h2 id="confirmation">
          {TITLES[kind]} {name}?
        </h2>
        <p>{consequences(kind, history)}</p>
        {kind === 'scale' && (
          <label>
            Slots{' '}
            <input
              type="number"
              min={1}
              max={64}
              value={wanted}
              onInput={({ currentTarget }) => setWanted(Number(currentTarget.value))}
            />
          </label>
        )}
        <div class="buttons">
          <button type="button" onClick={() => dialog.current?.close()}>
            Cancel
          </button>
          <button type="submit" class="primary">
            {TITLES[kind]}
          </button>
        </div>
      </form>
    </dialog>
  );
}

function consequences(kind: Kind, { view, restarts }: ServiceHistory): string {
  const serving = view.generations
    .filter(({ state }) => state === 'serving')
    .map(({ generation }) => generation);
  const who = `generation${serving.length === 1 ? '' : 's'} ${serving.join(', ') || 'that serves'}`;
  if (kind === 'restart')
    return `A new generation starts what “${view.command}” holds now, ${view.slots === undefined ? 'and' : 'slot after slot, and each'} takes over when it is ready. Connections that can move do; the others end with ${who}. If it fails, or does within its probation, ${who} serves on.`;
  if (kind === 'scale')
    return `${view.slots} processes share this service now. More begin with the release that serves; of fewer, those that end give their connections to the others.`;
  const watching = view.generations.find(({ state }) => state === 'probation');
  if (watching !== undefined)
    return `Generation ${watching.generation} still stands by: it serves again at once, with its connections and those of its successor, which ends.`;
  const before = restarts.findLast(
    ({ result, generation }) => result === 'confirmed' && !serving.includes(generation ?? -1),
  );
  const release =
    before === undefined
      ? 'the release before'
      : `the release before, last seen as “${text(before.release)}”,`;
  return `No earlier generation can resume: ${release} is started again and takes over when it is ready. If it fails, ${who} keeps serving.`;
}
