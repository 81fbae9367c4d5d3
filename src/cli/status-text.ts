import type { MoultError } from '../errors.js';
import type { GenerationStatus, ServiceStatus } from '../supervisor/status.js';
import { paint } from '../terminal/paint.js';
import { indented, type Row, table } from '../terminal/table.js';
import { visibleLine } from '../terminal/visible.js';
import { widthOf, wrap } from '../terminal/width.js';
import { type LeftService, withoutSupervisor } from './services.js';

/** The status of a service, for people, in lines of at most so many places. */
export function statusText(status: ServiceStatus, columns: number): string {
  const hasSlots = status.slots !== undefined;
  const colour =
    status.state === 'serving' ? paint.green : status.state === 'waiting' ? paint.red : paint.yellow;
  const facts =
    `supervisor ${status.pid}, up ${age(status.startedAt)}, ` +
    `${hasSlots ? `${status.slots} slots, ` : ''}${status.restarts} restarts, ${status.crashes} crashes`;
  const titles = ['generation', 'process', 'state', 'up', 'connections', 'memory'];
  const head = [...(hasSlots ? ['slot'] : []), ...titles];
  // Beside the other columns where that fits, else under each row.
  const beside = table([...head, 'listens on'], rows(status, hasSlots, true), Number.POSITIVE_INFINITY);
  const fits = beside.every((line) => widthOf(line) <= columns);
  const lines = fits ? beside : table(head, rows(status, hasSlots, false), columns);
  return [
    ...titled(status.name, status.state, colour, facts, columns),
    ...wrap(visibleLine(status.command), columns).map(paint.dim),
    ...lines,
    ...notes(status, columns),
  ]
    .join('\n')
    .trimEnd();
}

/** What is said of a service whose supervisor did not answer. */
export function silentText(name: string, error: MoultError, columns: number): string {
  const what = `its supervisor does not answer: ${error.message} (${error.code}). It is stopped, blocked or very busy; what serves, serves on`;
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
    const addresses = (one.listeners ?? []).map(({ address }) => addressText(address));
    const cells = [
      ...(hasSlots ? [one.slot ?? ''] : []),
      one.generation,
      one.pid,
      one.state,
      one.startedAt === undefined ? '' : age(one.startedAt),
      one.connections ?? '',
      one.memoryBytes === undefined ? '' : `${Math.round(one.memoryBytes / 1024 / 1024)} MB`,
    ];
    if (listenersBeside) return { cells: [...cells, addresses] };
    return { cells, below: addresses.length === 0 ? [] : [`listens on ${addresses.join(', ')}`] };
  });
}

function notes({ generations }: ServiceStatus, columns: number): string[] {
  const drains = (one: GenerationStatus) =>
    `generation ${one.generation} drains HTTP/1.1 connections instead of moving them: ${one.moves?.http1}`;
  const told = generations.flatMap((one) => [
    ...(one.notReached === undefined ? [] : [one.notReached]),
    ...(one.moves !== undefined && one.moves.http1 !== 'yes' ? [drains(one)] : []),
  ]);
  return told.flatMap((what) => wrap(visibleLine(what), columns).map(paint.yellow));
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
