import { Command } from 'commander';
import { type ConfiguredService, fileServices, type ServicesFile } from '../../config/file-services.js';
import { optionRows } from '../../config/options/run-options.js';
import { MoultError } from '../../errors.js';
import { namedWorkingDirectory } from '../../os/files/working-directory.js';
import { RunFolder } from '../../supervisor/journal/run-folder.js';
import type { HeldOption } from '../../supervisor/service-settings.js';
import type { HeldConfig, ServiceStatus } from '../../supervisor/status.js';
import { paint } from '../../terminal/paint.js';
import { print, printJson } from '../../terminal/print.js';
import { screenOf } from '../../terminal/screen.js';
import { type Row, table } from '../../terminal/table.js';
import { visibleLine } from '../../terminal/visible.js';
import { ask, findService } from '../services/control.js';

interface Flags {
  /** True, as commander has it beside `--no-config`, where neither is given. */
  readonly config?: string | boolean;
  readonly json?: true;
}

/** What holds for one service, and what its file has by now. */
interface Shown {
  readonly name: string;
  readonly isRunning: boolean;
  readonly file: string | null;
  readonly options: readonly (HeldOption & {
    readonly next?: unknown;
    readonly needs?: 'restart' | 'start';
  })[];
}

/** The command `moult config`: which options hold for a service, and where each value comes from. */
export function configCommand(): Command {
  return new Command('config')
    .description('show the options in effect, and where each value comes from')
    .argument('[name]', 'the service (default: those of the config file, else the only one that runs)')
    .option('--config <file>', 'the config file (default: the nearest moult.config.{ts,mts,js,mjs,json})')
    .option('--no-config', 'read no config file')
    .option('--json', 'print JSON: one object for a named or only service, else a list')
    .action(async (name: string | undefined, flags: Flags) => {
      const file = await fileServices(flags, namedWorkingDirectory());
      const all = await shownFor(name, file);
      if (flags.json === true) printJson(all.length === 1 ? all[0] : all);
      else print(all.map((one) => textOf(one, screenOf(process.stdout).columns)).join('\n\n'));
    });
}

async function shownFor(name: string | undefined, file: ServicesFile | undefined): Promise<Shown[]> {
  const inFile =
    file?.services.filter((one) => name === undefined || name === one.name || name === one.key) ?? [];
  if (file === undefined || inFile.length === 0) {
    const folder = await findService(name);
    return [running(folder.name, await held(folder), undefined)];
  }
  return Promise.all(
    inFile.map(async (one): Promise<Shown> => {
      const folder = new RunFolder(one.name);
      if (folder.isClaimed()) return running(one.name, await held(folder), one);
      return { name: one.name, isRunning: false, file: file.file, options: one.resolved.held };
    }),
  );
}

async function held(folder: RunFolder): Promise<HeldConfig> {
  const status = (await ask(folder, { type: 'status', config: true })) as unknown as ServiceStatus;
  if (status.config !== undefined) return status.config;
  const what = `the supervisor of ${folder.name} runs moult ${status.version}, which cannot report its options`;
  throw new MoultError('MOULT_PROTOCOL_VERSION', what, { serving: 'unchanged' });
}

function running(name: string, { file, options }: HeldConfig, next: ConfiguredService | undefined): Shown {
  const applies = new Map<string, string>(optionRows.map(([key, row]) => [key, row.applies]));
  const changes = new Map(next?.resolved.held.map((one) => [one.key, one]));
  return {
    name,
    isRunning: true,
    file,
    options: options.map((one) => {
      const change = changes.get(one.key);
      // What the command line says wins, whatever the file has.
      if (change === undefined || one.from === 'command line' || same(change.value, one.value)) return one;
      const needs = applies.get(one.key) === 'start' ? 'start' : 'restart';
      return { ...one, next: change.value ?? null, needs };
    }),
  };
}

const same = (one: unknown, other: unknown) => JSON.stringify(one ?? null) === JSON.stringify(other ?? null);

function textOf({ name, isRunning, file, options }: Shown, columns: number): string {
  const state = isRunning ? paint.green('runs with') : paint.dim('not running; it would start with');
  const rows = options
    .filter(({ value }) => value !== undefined)
    .map(({ key, value, from, next, needs }): Row => {
      const when = needs === 'start' ? 'when it is stopped and started again' : 'at its next restart';
      const change = needs === undefined ? [] : [`the file has ${valueText(next)}: takes effect ${when}`];
      return {
        cells: [key, valueText(value), from],
        paint: from === 'default' ? { 1: paint.dim, 2: paint.dim } : {},
        below: change,
      };
    });
  const from = file === null ? 'without a config file' : visibleLine(file);
  return [
    `${paint.bold(visibleLine(name))}  ${state}`,
    from,
    '',
    ...table(['option', 'value', 'from'], rows, columns),
  ]
    .join('\n')
    .trimEnd();
}

function valueText(value: unknown): string {
  if (Array.isArray(value)) return value.map(valueText).join(' ');
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}
