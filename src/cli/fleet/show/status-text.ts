import type { Roll } from '../../../fleet/roll/roll.js';
import { hasEnded } from '../../../fleet/roll/roll-phases.js';
import { isHeard, type Member } from '../../../fleet/roster.js';
import { paint, unpainted } from '../../../terminal/paint.js';
import { plural } from '../../../terminal/plural.js';
import { indented, type Row, table } from '../../../terminal/table.js';
import { visibleLine } from '../../../terminal/visible.js';
import { widthOf } from '../../../terminal/width.js';
import type { FleetNow } from './fleet-now.js';

/** From so many hosts on only those are shown that are not as they should be, and no more than so many. */
const MANY = 40;

/** Up to so many hosts are named. */
const NAMED = 3;

/** A fleet for people. */
export function statusText({ name, services }: FleetNow, columns: number): string {
  if (services.length === 0)
    return `fleet ${visibleLine(name)} has no hosts yet: start moult run --fleet … on each host`;
  return services.map((one) => serviceText(one, columns)).join('\n\n');
}

function serviceText(
  { service, members, roll, trouble }: FleetNow['services'][number],
  columns: number,
): string {
  const silent = members.filter((one) => !isHeard(one)).length;
  const heard = silent === 0 ? '' : `, ${paint.yellow(`${silent} silent`)}`;
  const title = `${paint.bold(visibleLine(service))}: ${plural(members.length, 'host')}${heard}`;
  const about = rollText(roll);
  const fits = widthOf(unpainted(title + about)) <= columns;
  const lines = fits ? [title + about] : [title, ...indented(about.slice(2), columns)];
  if (trouble !== undefined)
    lines.push(paint.yellow(`  the record of its roll cannot be used: ${visibleLine(trouble)}`));
  lines.push(...versionsText(members));
  const shown = shownOf(members, roll);
  const hasZones = members.some(({ record }) => record?.labels.zone !== undefined);
  const head = ['HOST', ...(hasZones ? ['ZONE'] : []), 'STATE', 'GEN', 'RELEASE', 'CONNECTIONS'];
  const rows = shown.map((one) => rowOf(one, roll, hasZones));
  if (rows.length > 0) lines.push(...table(head, rows, columns));
  const unshown = members.length - shown.length;
  const what = shown.length < MANY ? 'other hosts, without problems' : 'other hosts';
  if (unshown > 0) lines.push(paint.dim(`  ${unshown} ${what} (--json lists all)`));
  return lines.join('\n');
}

/** The members that are worth a row: all of a few; of many those that are not as they should be, as far as there is room. */
export function shownOf(members: readonly Member[], roll: Roll | undefined): readonly Member[] {
  if (members.length <= MANY) return members;
  const isPlain = (note: string) => note === '' || note === 'confirmed';
  return members.filter((one) => !isHeard(one) || !isPlain(noteOf(one, roll))).slice(0, MANY);
}

/** Who runs which moult, where that differs: a newer one may do what others do not. */
function versionsText(members: readonly Member[]): string[] {
  const hosts = new Map<string, string[]>();
  for (const { host, record } of members)
    if (record !== undefined) hosts.set(record.version, [...(hosts.get(record.version) ?? []), host]);
  if (hosts.size < 2) return [];
  const texts = [...hosts].map(([version, all]) => {
    const who = all.length > NAMED ? plural(all.length, 'host') : all.join(', ');
    return `${version} on ${who}`;
  });
  return [paint.yellow(`  versions of moult: ${visibleLine(texts.join('; '))}`)];
}

function rowOf(one: Member, roll: Roll | undefined, hasZones: boolean): Row {
  const { host, record, alive } = one;
  const state = stateOf(one);
  const at = hasZones ? 2 : 1;
  const note = noteOf(one, roll);
  return {
    cells: [
      host,
      ...(hasZones ? [record?.labels.zone ?? ''] : []),
      state,
      alive?.generation ?? '',
      releaseOf(one),
      alive?.connections ?? '',
    ],
    ...(note === '' ? {} : { below: [note] }),
    paint: { [at]: state === 'serving' ? paint.green : paint.yellow },
  };
}

/** How a host is, in a word. */
export function stateOf({ alive }: Member): string {
  return alive?.state ?? 'silent';
}

/** What a host runs, as people know it. */
export function releaseOf({ record, alive }: Member): string {
  return record?.release ?? shortLabel(alive?.label);
}

/** What is not as it should be with a host, or is on its way; empty for nothing. */
export function noteOf({ host, record, alive, trouble }: Member, roll: Roll | undefined): string {
  if (trouble !== undefined) return `its record cannot be used: ${trouble}`;
  const part = roll?.hosts[host];
  const obeyed = record?.obeyed;
  const isOfRoll = roll !== undefined && obeyed?.serial === roll.serial;
  if (roll !== undefined && part !== undefined && !hasEnded(roll.phase) && part.state !== 'waiting')
    return [part.isSilent ? `${part.state}, then silent` : part.state, part.reason ?? []].flat().join(': ');
  if (alive === undefined) return 'no heartbeat';
  if (alive.state === 'silent') return 'its agent is online, but its supervisor does not answer';
  if (roll === undefined || part === undefined) return roll === undefined ? '' : 'not in the last roll';
  if (roll.phase === 'done' && (!isOfRoll || obeyed?.outcome !== 'succeeded'))
    return `lags behind: ${(isOfRoll ? obeyed?.reason : undefined) ?? 'it has not restarted yet'}`;
  if (isOfRoll && obeyed?.outcome === 'not-taken-back')
    return `could not return to its previous release: ${obeyed.reason ?? ''}`;
  if (roll.phase === 'stopped' && isOfRoll && obeyed?.outcome === 'succeeded') return 'has the new release';
  return '';
}

/** What a roll does, or how it ended: `, roll 4 is done`; empty where there is none. */
export function rollText(roll: Roll | undefined): string {
  if (roll === undefined) return '';
  const release = roll.release === null ? '' : ` to ${visibleLine(roll.release)}`;
  const asked = roll.asked === null ? '' : `, ${roll.asked} requested`;
  return `, roll ${roll.serial}${release} is ${roll.phase}${asked}${hasEnded(roll.phase) ? '' : progressText(roll)}`;
}

function progressText({ hosts, waves, wave }: Roll): string {
  const counts = new Map<string, number>();
  for (const { state } of Object.values(hosts)) counts.set(state, (counts.get(state) ?? 0) + 1);
  const parts = [...counts].map(([state, count]) => `${count} ${state}`);
  return ` (${wave + 1} of ${waves.length} waves; ${parts.join(', ')})`;
}

// The last two parts of a path tell releases apart.
function shortLabel(label = ''): string {
  return label.split('/').slice(-2).join('/');
}
