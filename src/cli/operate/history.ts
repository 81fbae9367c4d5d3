import { Command } from 'commander';
import { paint } from '../../terminal/paint.js';
import { plural } from '../../terminal/plural.js';
import { print, printJson } from '../../terminal/print.js';
import { screenOf } from '../../terminal/screen.js';
import { type Row, table } from '../../terminal/table.js';
import { visibleLine } from '../../terminal/visible.js';
import { showMs } from '../options/option-types.js';
import { ask } from '../services/control.js';
import { meantServices } from '../services/meant-services.js';

/** The command `moult history`: past restarts of a running service, with result, reason, stages and times. */
export function historyCommand(): Command {
  return new Command('history')
    .description('show past restarts')
    .argument('[name]', 'the service (default: those of the config file, else the only one that runs)')
    .option('--json', 'print a JSON array; for several services, one line of JSON each')
    .action(async (name: string | undefined, flags: { readonly json?: true }) => {
      const { folders } = await meantServices(name, true);
      const { columns } = screenOf(process.stdout);
      const texts: string[] = [];
      for (const folder of folders) {
        const { restarts } = await ask(folder, { type: 'history' });
        const all = restarts as Record<string, unknown>[];
        const head = folders.length > 1 ? `${paint.bold(visibleLine(folder.name))}\n` : '';
        if (flags.json === true) printJson(folders.length > 1 ? { name: folder.name, restarts: all } : all);
        else texts.push(`${head}${historyText(all, columns)}`);
      }
      if (flags.json !== true) print(texts.join('\n\n'));
    });
}

/** Past restarts for people, in lines of at most so many places; the reason of one that failed is below it. */
export function historyText(restarts: readonly Record<string, unknown>[], columns: number): string {
  if (restarts.length === 0) return 'no restart so far';
  const hasSlots = restarts.some(({ slot }) => slot !== undefined);
  const head = ['when', ...(hasSlots ? ['slot'] : []), 'gen', 'kind', 'result', 'took', 'moved'];
  const rows = restarts.map((one, at): Row => {
    const result = String(one.result);
    const isWell = result === 'confirmed' || result === 'took over';
    const isNew = one.release !== undefined && one.release !== restarts[at - 1]?.release;
    return {
      cells: [
        localTime(Number(one.at)),
        ...(hasSlots ? [String(one.slot ?? '')] : []),
        String(one.generation),
        String(one.kind ?? 'restart'),
        result,
        one.tookMs === undefined ? '' : showMs(Number(one.tookMs)),
        one.moved === undefined ? '' : String(one.moved),
      ],
      paint: { [hasSlots ? 4 : 3]: isWell ? paint.green : paint.red },
      below: [
        ...(isNew ? [String(one.release)] : []),
        ...(one.because === undefined ? [] : [String(one.because)]),
        ...reason(one),
        ...cutLines(one.cut),
      ],
    };
  });
  return table(head, rows, columns).join('\n').trimEnd();
}

/** How much of a reason is shown; `--json` has the whole. */
const SHOWN_REASON = 1000;

// Where it failed: why, how its process ended, and what it wrote last.
function reason({ message, code, exit, lastLine }: Record<string, unknown>): string[] {
  if (message === undefined) return [];
  const text = `${String(message).slice(0, SHOWN_REASON)}${code === undefined ? '' : ` (${String(code)})`}`;
  const ended = code === undefined ? undefined : endOf(exit);
  const isSaid = ended === undefined || text.includes(ended);
  return [
    ...text.split('\n'),
    ...(isSaid ? [] : [`its process ${ended}`]),
    ...(lastLine === undefined ? [] : [`its last line: ${String(lastLine).slice(0, SHOWN_REASON)}`]),
  ];
}

/** How many connections are named that were cut; `--json` has all. */
const SHOWN_CUTS = 3;

function cutLines(cut: unknown): string[] {
  if (!Array.isArray(cut) || cut.length === 0) return [];
  const shown = cut
    .slice(0, SHOWN_CUTS)
    .map(({ peer, ageMs, reason }) => `${String(peer)} after ${showMs(Number(ageMs))}: ${String(reason)}`);
  const more = cut.length > shown.length ? [`${cut.length - shown.length} more`] : [];
  return [`${plural(cut.length, 'connection')} cut: ${[...shown, ...more].join('; ')}`];
}

function endOf(exit: unknown): string | undefined {
  const { code, signal } = (exit ?? {}) as { code?: number | null; signal?: string | null };
  if (typeof code === 'number') return `exited with code ${code}`;
  return typeof signal === 'string' ? `was ended by ${signal}` : undefined;
}

/** A moment in the time of this machine, with how far that is from UTC: `2026-11-28 21:13:23 +01:00`. */
export function localTime(at: number): string {
  const date = new Date(at);
  const behindMin = date.getTimezoneOffset();
  if (Number.isNaN(behindMin)) return '';
  const local = new Date(at - behindMin * 60_000).toISOString().slice(0, 19).replace('T', ' ');
  const size = Math.abs(behindMin);
  const two = (n: number) => String(n).padStart(2, '0');
  return `${local} ${behindMin > 0 ? '-' : '+'}${two(Math.floor(size / 60))}:${two(size % 60)}`;
}
