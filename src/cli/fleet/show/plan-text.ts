import type { Roll } from '../../../fleet/roll/roll.js';
import type { Member } from '../../../fleet/roster.js';
import { paint } from '../../../terminal/paint.js';
import { plural } from '../../../terminal/plural.js';
import { indented } from '../../../terminal/table.js';
import { visibleLine } from '../../../terminal/visible.js';
import { padded } from '../../../terminal/width.js';
import { showMs } from '../../options/option-types.js';

/** How many names of one wave are shown. */
const SHOWN_HOSTS = 8;
/** How many waves are shown at the beginning, and one at the end. */
const SHOWN_WAVES = 8;
const TITLE = 11;

/** What a roll is going to do, for people. */
export function planText(roll: Roll, members: readonly Member[], columns: number): string {
  const { waves, hasCanaries, terms, hosts } = roll;
  const count = Object.keys(hosts).length;
  const what =
    roll.release === null ? 'restart what is deployed now' : `deploy release ${roll.release} and restart`;
  const lines = [
    `${paint.bold(`roll ${roll.serial} of ${visibleLine(roll.service)}`)}: ${plural(count, 'host')}, ${what}`,
  ];
  const label = (at: number) => (hasCanaries ? (at === 0 ? 'canary' : `wave ${at}`) : `wave ${at + 1}`);
  const shown = waves.length <= SHOWN_WAVES + 1 ? waves.length : SHOWN_WAVES;
  const line = (wave: readonly string[], at: number) => row(label(at), namesText(wave, members), columns);
  lines.push(...waves.slice(0, shown).flatMap(line));
  if (shown < waves.length) {
    lines.push(`  ${paint.dim(`… ${waves.length - shown - 1} more waves`)}`);
    lines.push(...line(waves.at(-1) ?? [], waves.length - 1));
  }
  const silent = Object.entries(hosts).filter(([, { state }]) => state === 'absent');
  if (silent.length > 0)
    lines.push(...row('silent', someOf(silent.map(([host]) => host)), columns, paint.yellow));
  if (hasCanaries && waves.length > 1 && terms.watchForMs > 0) {
    const limits = `fail with ${(terms.maxErrorRate * 100).toFixed(0)}% more 5xx or ${terms.maxSlowdown} times as slow as the rest`;
    lines.push(...row('watched', `canaries, for ${showMs(terms.watchForMs)}; they ${limits}`, columns));
  }
  lines.push(...row('at most', `${plural(terms.maxUnavailable, 'host')} unavailable at a time`, columns));
  const failure =
    terms.onFailure === 'undo'
      ? 'all hosts return to their previous release'
      : 'no more hosts restart; finished ones keep the new release';
  lines.push(...row('on failure', failure, columns));
  return lines.join('\n');
}

/** A few names, how many more there are, and their zones where they have some. */
function namesText(wave: readonly string[], members: readonly Member[]): string {
  const zoneOf = (host: string) => members.find((one) => one.host === host)?.record?.labels.zone;
  return someOf(wave, (host) => {
    const zone = zoneOf(host);
    return zone === undefined ? host : `${host} (${zone})`;
  });
}

function someOf(hosts: readonly string[], name: (host: string) => string = (host) => host): string {
  const more = hosts.length - SHOWN_HOSTS;
  return hosts.slice(0, SHOWN_HOSTS).map(name).join(', ') + (more > 0 ? ` and ${more} more` : '');
}

function row(title: string, text: string, columns: number, colour = paint.dim): string[] {
  const indent = ' '.repeat(TITLE + 3);
  const [first = '', ...rest] = indented(visibleLine(text), columns, indent);
  return [`  ${colour(padded(title, TITLE))} ${first.slice(indent.length)}`, ...rest];
}
