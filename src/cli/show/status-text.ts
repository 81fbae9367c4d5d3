import type { MoultError } from '../../errors.js';
import { namesOf } from '../../lifecycle/listener-names.js';
import type { GenerationStatus, ServiceStatus } from '../../supervisor/status.js';
import { paint } from '../../terminal/paint.js';
import { plural } from '../../terminal/plural.js';
import { indented, type Row, table } from '../../terminal/table.js';
import { visibleLine } from '../../terminal/visible.js';
import { widthOf, wrap } from '../../terminal/width.js';
import { type LeftService, withoutSupervisor } from '../services/services.js';

/** Of one generation; `--json` has all. */
const MOST_ADDRESSES = 20;

/** The status of a service, for people, in lines of at most so many places. */
export function statusText(status: ServiceStatus, columns: number): string {
  const hasSlots = status.slots !== undefined;
  const colour =
    status.state === 'serving' ? paint.green : status.state === 'waiting' ? paint.red : paint.yellow;
  const facts =
    `supervisor ${status.pid}, up ${age(status.startedAt)}, ` +
    `${hasSlots ? `${status.slots} slots, ` : ''}${plural(status.restarts, 'restart')}, ${status.crashes} ${status.crashes === 1 ? 'crash' : 'crashes'}`;
  const titles = ['generation', 'process', 'state', 'up', 'connections', 'memory'];
  const head = [...(hasSlots ? ['slot'] : []), ...titles];
  // Beside the other columns where that fits, else under each row.
  const beside = table([...head, 'listens on'], rows(status, hasSlots, true), Number.POSITIVE_INFINITY);
  const fits = beside.every((line) => widthOf(line) <= columns);
  const lines = fits ? beside : table(head, rows(status, hasSlots, false), columns);
  return [
    ...titled(status.name, status.state, colour, facts, columns),
    ...wrap(visibleLine(status.command), columns).map(paint.dim),
    ...(status.generations.length === 0 ? [] : lines),
    ...waitLines(status, columns),
    ...recycledLines(status, columns),
    ...watchLines(status, columns),
    ...notes(status, columns),
  ]
    .join('\n')
    .trimEnd();
}

/** What is said of a service whose supervisor did not answer. */
export function silentText(name: string, error: MoultError, columns: number): string {
  const what = `its supervisor does not answer: ${error.message} (${error.code}). It is stopped, blocked or very busy; the service keeps serving`;
  return [...titled(name, 'silent', paint.red, '', columns), ...indented(visibleLine(what), columns)].join(
    '\n',
  );
}

/** What is said of a service that has lost its supervisor. */
export function leftText(left: LeftService, columns: number): string {
  const { message, code } = withoutSupervisor(left);
  return [
    ...titled(left.name, 'without a supervisor', paint.red, '', columns),
    ...indented(visibleLine(`${message} (${code})`), columns),
  ].join('\n');
}

function titled(
  name: string,
  state: string,
  colour: (text: string) => string,
  facts: string,
  columns: number,
): string[] {
  const [shown, doing] = [visibleLine(name), visibleLine(state)];
  const first = `${paint.bold(shown)}  ${colour(doing)}`;
  if (facts === '') return [first];
  const whole = `${first}  ${paint.dim(facts)}`;
  if (widthOf(whole) <= columns) return [whole];
  return [first, ...indented(visibleLine(facts), columns).map(paint.dim)];
}

function rows({ generations }: ServiceStatus, hasSlots: boolean, listenersBeside: boolean): Row[] {
  return generations.map((one) => {
    const addresses = shownOf((one.listeners ?? []).map(({ address }) => addressText(address)));
    const cells = [
      ...(hasSlots ? [one.slot ?? ''] : []),
      one.generation,
      one.pid,
      isWatched(one) ? `${one.state}, watched` : one.state,
      one.startedAt === undefined ? '' : age(one.startedAt),
      one.connections ?? '',
      one.memoryBytes === undefined ? '' : `${Math.round(one.memoryBytes / 1024 / 1024)} MB`,
    ];
    const remains = remainsOf(one);
    if (listenersBeside) return { cells: [...cells, addresses], below: remains };
    return {
      cells,
      below: [...(addresses.length === 0 ? [] : [`listens on ${addresses.join(', ')}`]), ...remains],
    };
  });
}

/** The first of many; one is never all that is left out. */
function shownOf(addresses: readonly string[]): readonly string[] {
  if (addresses.length <= MOST_ADDRESSES) return addresses;
  const shown = addresses.slice(0, MOST_ADDRESSES - 1);
  return [...shown, `and ${addresses.length - shown.length} more`];
}

function isWatched({ watchedUntil }: GenerationStatus): boolean {
  return watchedUntil !== undefined && watchedUntil > Date.now();
}

/** What still ends with it, and why it does not move. */
function remainsOf({ draining }: GenerationStatus): string[] {
  if (draining === undefined || draining.remaining.length === 0) return [];
  const left = Math.max(0, draining.cutInMs);
  const until = left === 0 ? 'being cut now' : `cut in ${seconds(left)}`;
  return draining.remaining.map(
    ({ reason, connections }) => `still open: ${connections} (${reason}), ${until}`,
  );
}

function seconds(ms: number): string {
  const whole = Math.max(1, Math.round(ms / 1000));
  return whole < 120 ? `${whole} s` : `${Math.round(whole / 60)} min`;
}

/** Why nobody serves, and what happens next. */
function waitLines({ waits = [] }: ServiceStatus, columns: number): string[] {
  return waits.flatMap(({ slot, reason, nextStartAt, lastLine, missing, refused = [] }) => {
    const leftMs = nextStartAt - Date.now();
    const next = leftMs <= 0 ? 'starts now' : `starts in ${seconds(leftMs)}`;
    const where = slot === undefined ? '' : `slot ${slot}: `;
    const then =
      missing === undefined
        ? `the last good release ${next}`
        : `the last good release cannot start: ${missing} was removed. It starts once that is there again; moult restart starts another release`;
    const clients = refused.length === 0 ? 'clients wait' : `clients of ${namesOf(refused)} are refused`;
    const texts = [
      `${where}${reason}; ${clients}, and ${then}`,
      ...(lastLine === undefined ? [] : [`its last line: ${lastLine.slice(0, 1000)}`]),
    ];
    return texts.flatMap((text) => wrap(visibleLine(text), columns).map(paint.red));
  });
}

/** Which generation was replaced last without anybody having asked for it. */
function recycledLines({ recycled }: ServiceStatus, columns: number): string[] {
  if (recycled === undefined) return [];
  const where = recycled.slot === undefined ? '' : `slot ${recycled.slot}: `;
  const text = `${where}generation ${recycled.generation} was recycled ${age(recycled.at)} ago: ${recycled.reason}`;
  return wrap(visibleLine(text), columns).map(paint.dim);
}

/** Which generations may still be undone. */
function watchLines({ generations }: ServiceStatus, columns: number): string[] {
  return generations.filter(isWatched).flatMap(({ generation, watchedUntil = 0 }) => {
    const left = seconds(watchedUntil - Date.now());
    const text = `generation ${generation} is in probation for another ${left}: if it fails, its predecessor serves again`;
    return wrap(text, columns).map(paint.dim);
  });
}

function notes({ generations }: ServiceStatus, columns: number): string[] {
  const drains = ({ generation, moves }: GenerationStatus): string[] => {
    const { http1 = 'yes', tls = 'yes' } = moves ?? {};
    const note = (what: string, why: string) =>
      why === 'yes'
        ? []
        : [`generation ${generation} drains ${what} connections instead of moving them: ${why}`];
    return [...note('HTTP/1.1', http1), ...(http1 === 'yes' ? note('TLS', tls) : [])];
  };
  return generations.flatMap(drains).flatMap((one) => wrap(visibleLine(one), columns).map(paint.yellow));
}

function addressText(address: Record<string, unknown>): string {
  if (typeof address.path === 'string') return address.path;
  const host = String(address.address ?? '');
  const port = String(address.port ?? '');
  const transport = address.transport === 'udp' ? '/udp' : '';
  return `${host.includes(':') ? `[${host}]` : host}:${port}${transport}`;
}

function age(since: number): string {
  const seconds = Math.max(0, Math.round((Date.now() - since) / 1000));
  if (seconds < 120) return `${seconds} s`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}
