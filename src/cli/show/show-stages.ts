import { namesOf } from '../../lifecycle/listener-names.js';
import type { RestartSummary, StageEvent } from '../../lifecycle/restart-record.js';
import { LiveLine } from '../../terminal/live-line.js';
import { paint } from '../../terminal/paint.js';
import { plural } from '../../terminal/plural.js';
import { print, printJson } from '../../terminal/print.js';
import { screenOf } from '../../terminal/screen.js';
import { visibleLine } from '../../terminal/visible.js';
import { showMs } from '../options/option-types.js';
import { drawPauses } from './pause-picture.js';

/** Lines of JSON for programs, a progress display on a terminal, plain lines elsewhere. */
export function showFor(asJson: boolean, name: string): Show {
  if (asJson) return showJson;
  return screenOf(process.stderr).live ? liveStages(name) : showPlain;
}

/** How the progress of a restart is shown. */
export interface Show {
  stage(event: StageEvent): void;
  done(summary: RestartSummary): void;
  failed(): void;
}

const showJson: Show = {
  stage: (event) => printJson(event),
  done: (summary) => printJson({ type: 'result', ok: true, generation: summary.generation, summary }),
  failed: () => {},
};

const showPlain: Show = {
  stage: (event) => print(stageText(event)),
  done: (summary) => print(summaryText(summary)),
  failed: () => {},
};

function liveStages(name: string): Show {
  const line = new LiveLine();
  line.show(`restarting ${name}`);
  let [isReached, isMoved] = [false, false];
  return {
    stage: (event) => {
      line.keep(`${paint.green('✓')} ${stageText(event)}`);
      // Of several slots each begins anew.
      if (event.stage === 'commit') [isReached, isMoved] = [false, false];
      isReached ||= event.stage === 'look';
      isMoved ||= event.stage === 'connections';
      const next = isReached && isMoved ? 'watching it in its probation' : WAITING[event.stage];
      line.show(next ?? `restarting ${name}`);
    },
    done: (summary) => {
      line.end();
      print(summaryText(summary));
    },
    failed: () => line.end(),
  };
}

/** The log has all of them. */
const SHOWN_CUTS = 20;

const WAITING: Readonly<Record<string, string>> = {
  spawn: 'waiting for the new generation to connect',
  hello: 'passing the listeners',
  inherit: 'waiting until it is ready',
  ready: 'checking it, and switching over',
  commit: 'checking the listeners from outside, and moving connections',
  look: 'moving connections',
  connections: 'checking the listeners from outside',
  check: 'switching over',
};

function stageText({ stage, ms, generation, slot, facts }: StageEvent): string {
  const f = facts as Record<string, number | null | undefined>;
  // Of a program two generations accept at once, until one of them is confirmed.
  const overlaps = facts.overlaps === true;
  const what: Record<string, string> = {
    spawn:
      f.pid === null
        ? `starting generation ${generation}`
        : `generation ${generation} started (process ${f.pid})`,
    hello: `it said hello (process ${f.pid}, Node ${String(f.node)})`,
    inherit: `${plural(f.listeners ?? 0, 'listener')} passed${overlaps ? '' : ', behind a shut gate'}`,
    ready: `${facts.said === true ? 'it said that it is ready' : `it claimed ${plural(f.claims ?? 0, 'listener')}`}${lack(facts.closes)}`,
    check: 'it passed its checks',
    force: `the predecessor does not answer and is killed: ${plural(f.cut ?? 0, 'connection')} cut`,
    commit: overlaps
      ? 'it accepts; the predecessor stays through its probation'
      : 'it accepts, the predecessor no longer does',
    connections: `${plural(f.moved ?? 0, 'connection')} moved, ${f.draining} still with the predecessor`,
    look: `reached from outside: ${plural(f.looked ?? 0, 'listener')}${f.untried === undefined ? '' : `; ${f.untried} could not be tried`}`,
    verify: 'its probation is over; checking its listeners from outside once more',
    confirm: 'confirmed',
  };
  const where = slot === undefined ? '' : `slot ${slot}  `;
  return visibleLine(`${where}${stage.padEnd(12)}${showMs(ms).padStart(8)}  ${what[stage] ?? ''}`);
}

function lack(closes: unknown): string {
  return Array.isArray(closes) ? `, and does not listen on ${namesOf(closes.map(String))}` : '';
}

/** The end of a restart, for people. */
export function summaryText(summary: RestartSummary): string {
  if (summary.slots !== undefined) return rollText(summary, summary.slots);
  const { generation, predecessor, listeners, moved, draining, cut, longestPauseMs, tookMs } = summary;
  const from = predecessor === null ? 'nobody' : `generation ${predecessor}`;
  const lines = [
    `${paint.green('✓')} generation ${generation} took over from ${from} in ${showMs(tookMs)}`,
    `  listeners:   ${listeners} passed`,
    `  connections: ${moved} moved, ${draining} still with the predecessor, ${cut} cut`,
    `  pause:       ${moved === 0 ? 'none' : `${showMs(longestPauseMs)} at the longest for one connection`}`,
    ...pauseLines(summary.pauses),
  ];
  lines.push(...remainingLines(summary.remaining));
  for (const { peer, ageMs, reason } of summary.cutConnections?.slice(0, SHOWN_CUTS) ?? []) {
    lines.push(
      `  ${paint.yellow('cut')}:         ${visibleLine(`${peer} after ${showMs(ageMs)}: ${reason}`)}`,
    );
  }
  if (summary.closes !== undefined) {
    lines.push(
      `  ${paint.yellow('closes')}:      ${visibleLine(namesOf(summary.closes))}, on which it does not listen`,
    );
  }
  if (summary.drainedBecause !== undefined) {
    lines.push(
      `  ${paint.yellow('note')}:        connections were drained, not moved: ${visibleLine(summary.drainedBecause)}`,
    );
  }
  lines.push(...watchedLines(summary));
  return lines.join('\n');
}

/** One line a slot, and the whole. */
function rollText(summary: RestartSummary, slots: NonNullable<RestartSummary['slots']>): string {
  const { moved, draining, remaining, longestPauseMs, tookMs, pauses } = summary;
  const each = slots.map(
    (one) =>
      `  slot ${one.slot}: generation ${one.generation} took over from ${one.predecessor ?? 'nobody'} in ${showMs(one.tookMs)}, ` +
      `${plural(one.moved, 'connection')} moved, ${one.draining} still with the predecessor`,
  );
  const pause = moved === 0 ? '' : `, ${showMs(longestPauseMs)} at the longest for one`;
  const whole = `${plural(slots.length, 'slot')} replaced in ${showMs(tookMs)}: ${plural(moved, 'connection')} moved${pause}, ${draining} draining`;
  return [
    `${paint.green('✓')} ${whole}`,
    ...each,
    ...pauseLines(pauses),
    ...remainingLines(remaining),
    ...watchedLines(summary),
  ].join('\n');
}

/** The pauses as a picture, on a terminal. */
function pauseLines(pauses: RestartSummary['pauses']): string[] {
  const screen = screenOf(process.stdout);
  return pauses === undefined || process.stdout.isTTY !== true ? [] : drawPauses(pauses.counts, screen);
}

/** For how long it may still be undone by itself. */
function watchedLines({ watchedMs, generation, slots }: RestartSummary): string[] {
  if (watchedMs === undefined || watchedMs < 1) return [];
  const who = slots === undefined ? `if generation ${generation} fails` : 'if one fails';
  const stepMs = watchedMs < 1000 ? 100 : 1000;
  return [
    `  watched:     for ${showMs(Math.ceil(watchedMs / stepMs) * stepMs)}; ${who}, the restart is undone`,
  ];
}

/** Why connections have not moved. */
function remainingLines(remaining: RestartSummary['remaining'] = []): string[] {
  return remaining.map(
    ({ reason, connections }) => `  ${paint.yellow('not moved')}:   ${connections}: ${visibleLine(reason)}`,
  );
}
