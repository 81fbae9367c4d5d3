import type { Roll } from '../../fleet/roll/roll.js';
import { hasEnded } from '../../fleet/roll/roll-phases.js';
import { isHeard, type Member } from '../../fleet/roster.js';
import { paint } from '../../terminal/paint.js';
import { plural } from '../../terminal/plural.js';
import { type Row, table } from '../../terminal/table.js';
import { visibleLine } from '../../terminal/visible.js';

/** A fleet as it is now. */
export interface FleetNow {
  readonly name: string;
  readonly services: readonly {
    readonly service: string;
    readonly members: readonly Member[];
    readonly roll: Roll | undefined;
    /** What is wrong with what is in the place of its roll. */
    readonly trouble: string | undefined;
  }[];
}

/** From so many hosts on only those are shown that are not as they should be. */
const MANY = 40;

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
  const lines = [
    `${paint.bold(visibleLine(service))}: ${plural(members.length, 'host')}${heard}${rollText(roll)}`,
  ];
  if (trouble !== undefined)
    lines.push(paint.yellow(`  the record of its roll cannot be used: ${visibleLine(trouble)}`));
  const shown = members.length <= MANY ? members : members.filter((one) => noteOf(one, roll) !== '');
  const hasZones = members.some(({ record }) => record?.labels.zone !== undefined);
  const head = ['HOST', ...(hasZones ? ['ZONE'] : []), 'STATE', 'GEN', 'RELEASE', 'CONNECTIONS'];
  const rows = shown.map((one) => rowOf(one, roll, hasZones));
  if (rows.length > 0) lines.push(...table(head, rows, columns));
  const unshown = members.length - shown.length;
  if (unshown > 0)
    lines.push(paint.dim(`  ${plural(unshown, 'host')} without problems not shown (--json lists all)`));
  return lines.join('\n');
}

function rowOf(one: Member, roll: Roll | undefined, hasZones: boolean): Row {
  const { host, record, alive } = one;
  const state = alive?.state ?? 'silent';
  const at = hasZones ? 2 : 1;
  const note = noteOf(one, roll);
  return {
    cells: [
      host,
      ...(hasZones ? [record?.labels.zone ?? ''] : []),
      state,
      alive?.generation ?? '',
      record?.release ?? shortLabel(alive?.label),
      alive?.connections ?? '',
    ],
    ...(note === '' ? {} : { below: [note] }),
    paint: { [at]: state === 'serving' ? paint.green : paint.yellow },
  };
}

/** What is not as it should be with a host, or is on its way. */
function noteOf({ host, record, alive, trouble }: Member, roll: Roll | undefined): string {
  if (trouble !== undefined) return `its record cannot be used: ${trouble}`;
  const part = roll?.hosts[host];
  const obeyed = record?.obeyed;
  const isOfRoll = roll !== undefined && obeyed?.serial === roll.serial;
  if (roll !== undefined && part !== undefined && !hasEnded(roll.phase) && part.state !== 'waiting')
    return part.reason === undefined ? part.state : `${part.state}: ${part.reason}`;
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

function rollText(roll: Roll | undefined): string {
  if (roll === undefined) return '';
  const release = roll.release === null ? '' : ` to ${visibleLine(roll.release)}`;
  const asked = roll.asked === null ? '' : `, ${roll.asked} requested`;
  return `, roll ${roll.serial}${release} is ${roll.phase}${asked}`;
}

// The last two parts of a path tell releases apart.
function shortLabel(label = ''): string {
  return label.split('/').slice(-2).join('/');
}
