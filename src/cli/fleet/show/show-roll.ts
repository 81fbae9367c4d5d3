import type { HostState } from '../../../fleet/roll/host-states.js';
import type { Roll } from '../../../fleet/roll/roll.js';
import { LiveLine } from '../../../terminal/live-line.js';
import { paint } from '../../../terminal/paint.js';
import { plural } from '../../../terminal/plural.js';
import { print, printJson } from '../../../terminal/print.js';
import { screenOf } from '../../../terminal/screen.js';
import { visibleLine } from '../../../terminal/visible.js';
import { padded } from '../../../terminal/width.js';

/** From so many hosts on only those are named that did not go well. */
const MANY = 20;

/** Shows how a roll goes on. */
export interface ShowRoll {
  roll(roll: Roll): void;
  /** @param roll as it ended; none where that is not known. */
  end(roll?: Roll): void;
}

const GOOD: readonly HostState[] = [
  'ordered',
  'running',
  'confirmed',
  'undoing',
  'undone',
  'withdrawing',
  'withdrawn',
];
/** With these something begins. */
const BEGINS: readonly HostState[] = ['ordered', 'undoing', 'withdrawing'];
const PLAIN: Readonly<Partial<Record<HostState, string>>> = {
  ordered: 'was asked to restart',
  running: 'restarts',
  confirmed: 'confirmed',
  failed: 'failed; its previous release serves',
  unknown: 'is silent: what it runs is unknown',
  absent: 'is silent',
  withdrawing: 'was asked not to start',
  withdrawn: 'was not started',
  'withdraw-unknown': 'is silent: it will not restart when it returns',
  undoing: 'goes back',
  undone: 'runs its previous release',
  'undo-failed': 'could not return to its previous release',
  'undo-unknown': 'is silent: it returns to its previous release when it is back',
};

const SILENT = 'is confirmed, and silent now';

/** Lines of JSON for programs, plain lines and a live one for people. */
export function showRoll(name: string, asJson: boolean): ShowRoll {
  return asJson ? new JsonShow() : new PeopleShow(name);
}

interface Change {
  readonly host: string;
  readonly state: HostState;
  readonly reason?: string;
  /** It is confirmed, and has fallen silent since. */
  readonly isSilent?: true;
}

/** What has changed between two states of a roll. */
function changes(before: Roll | undefined, now: Roll): Change[] {
  return Object.entries(now.hosts).flatMap(([host, { state, reason, isSilent = false }]) => {
    const was = before?.hosts[host];
    const isSame = was?.state === state && (was.isSilent ?? false) === isSilent;
    if (isSame || state === 'waiting') return [];
    const why = reason === undefined ? {} : { reason };
    return [{ host, state, ...why, ...(isSilent ? { isSilent } : {}) }];
  });
}

function countsOf({ hosts }: Roll): Partial<Record<HostState, number>> {
  const counts: Partial<Record<HostState, number>> = {};
  for (const { state } of Object.values(hosts)) counts[state] = (counts[state] ?? 0) + 1;
  return counts;
}

class JsonShow implements ShowRoll {
  #last: Roll | undefined;

  roll(roll: Roll): void {
    const { serial, service, phase, wave, epoch } = roll;
    const changed = changes(this.#last, roll);
    printJson({ type: 'roll', serial, service, phase, wave, epoch, counts: countsOf(roll), changed });
    this.#last = roll;
  }

  end(roll?: Roll): void {
    if (roll?.phase !== 'done') return;
    const { serial, service, phase } = roll;
    printJson({ type: 'result', ok: true, serial, service, phase, counts: countsOf(roll) });
  }
}

class PeopleShow implements ShowRoll {
  readonly #name: string;
  readonly #line = screenOf(process.stderr).live ? new LiveLine() : undefined;
  #last: Roll | undefined;

  constructor(name: string) {
    this.#name = name;
  }

  roll(roll: Roll): void {
    const changed = changes(this.#last, roll);
    // What ended the phase before comes before its name, what the phase begins after it.
    for (const one of changed.filter(({ state }) => !BEGINS.includes(state))) this.#host(roll, one);
    if (roll.phase !== this.#last?.phase || roll.wave !== this.#last.wave) this.#keep(phaseText(roll));
    for (const one of changed.filter(({ state }) => BEGINS.includes(state))) this.#host(roll, one);
    this.#line?.show(liveText(this.#name, roll));
    this.#last = roll;
  }

  end(roll?: Roll): void {
    this.#line?.end();
    if (roll?.phase !== 'done') return;
    const counts = countsOf(roll);
    const unknown = counts.unknown ?? 0;
    const rest = unknown === 0 ? '' : `; ${plural(unknown, 'host')} silent: they restart when they return`;
    print(
      `${paint.green('✓')} ${plural(counts.confirmed ?? 0, 'host')} of ${visibleLine(this.#name)} confirmed${rest}`,
    );
  }

  #host(roll: Roll, { host, state, reason, isSilent }: Change): void {
    const isGood = GOOD.includes(state) && isSilent !== true;
    if (isGood && Object.keys(roll.hosts).length > MANY) return;
    const what = isSilent === true ? SILENT : (PLAIN[state] ?? state);
    const text = `  ${padded(visibleLine(host), 16)} ${isGood ? what : paint.yellow(what)}`;
    this.#keep(reason === undefined || isGood ? text : `${text}: ${visibleLine(reason)}`);
  }

  #keep(text: string): void {
    if (this.#line === undefined) print(text);
    else this.#line.keep(text);
  }
}

function phaseText(roll: Roll): string {
  const { phase, reason, waves, wave, hasCanaries } = roll;
  const why = reason === undefined ? '' : `: ${visibleLine(reason)}`;
  const which = hasCanaries && wave === 0 ? 'canaries' : `wave ${hasCanaries ? wave : wave + 1}`;
  const all = hasCanaries ? waves.length - 1 : waves.length;
  const text: Readonly<Record<Roll['phase'], string>> = {
    rolling: hasCanaries && wave === 0 ? which : `${which} of ${all}`,
    watching: 'canaries are confirmed and being watched',
    paused: 'paused: restarts in progress finish, no more start; continue with moult fleet resume',
    stopping: `stopping${why}`,
    undoing: `going back${why}`,
    done: 'done',
    stopped: `stopped${why}`,
    undone: `undone${why}`,
  };
  return paint.bold(text[phase]);
}

function liveText(name: string, roll: Roll): string {
  const counts = countsOf(roll);
  const parts = Object.entries(counts)
    .filter(([, count]) => count > 0)
    .map(([state, count]) => `${count} ${state}`);
  return `${name}: ${roll.phase}, ${parts.join(', ')}`;
}
