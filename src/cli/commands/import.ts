import { existsSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { Command } from 'commander';
import { servicesIn } from '../../config/read-config.js';
import type { MoultConfig } from '../../config/service-config.js';
import { MoultError } from '../../errors.js';
import { namedWorkingDirectory } from '../../os/files/working-directory.js';
import { configText } from '../../pm2/config-text.js';
import { readEcosystem } from '../../pm2/ecosystem.js';
import { type ImportedApp, type ImportNote, importApp } from '../../pm2/import-app.js';
import { paint } from '../../terminal/paint.js';
import { print } from '../../terminal/print.js';
import { screenOf } from '../../terminal/screen.js';
import { type Row, table } from '../../terminal/table.js';
import { visibleLine } from '../../terminal/visible.js';

interface Flags {
  readonly env?: string;
  readonly out?: string;
  readonly force?: true;
}

/** The command `moult import`: a config file from an ecosystem file of PM2, and what became of each of its keys. */
export function importCommand(): Command {
  return new Command('import')
    .description('convert a PM2 ecosystem file to a config file, and report each key')
    .argument('<file>', 'ecosystem.config.js, .cjs, .mjs, .json or .yaml')
    .option('--env <name>', 'also import env_NAME')
    .option('--out <file>', 'where to write (default: moult.config.ts in the same folder)')
    .option('--force', 'overwrite an existing file')
    .action(async (path: string, flags: Flags) => {
      const cwd = namedWorkingDirectory();
      const file = resolve(cwd, path);
      if (!existsSync(file))
        throw new MoultError('MOULT_BAD_OPTION', `expected an ecosystem file at ${file}, found none`);
      const out = flags.out === undefined ? join(dirname(file), 'moult.config.ts') : resolve(cwd, flags.out);
      if (existsSync(out) && flags.force !== true) {
        throw new MoultError(
          'MOULT_BAD_OPTION',
          `${out} exists: use --force to overwrite it, or --out to write elsewhere`,
        );
      }
      const { apps, others } = await readEcosystem(file);
      const imported = apps.map((app, place) => importApp(app, flags.env, place, dirname(file)));
      const config = configOf(imported);
      servicesIn({ file: out, content: config });
      writeFileSync(out, configText(config, basename(file)));
      const { columns } = screenOf(process.stdout);
      for (const app of imported) print(`${report(app, columns)}\n`);
      for (const other of others)
        print(`${visibleLine(other)}: not imported\n  ${OTHERS[other] ?? ''}`.trimEnd());
      print(`${paint.green('✓')} wrote ${visibleLine(out)}`);
      print(`  moult config shows the options in effect; ${nextStep(imported)}`);
    });
}

const OTHERS: Readonly<Record<string, string | undefined>> = {
  deploy: 'Deploy as you do now, or by switching a symbolic link; then run moult restart',
  module_conf: 'It configures PM2 itself',
};

function nextStep(imported: readonly ImportedApp[]): string {
  return imported.length > 1 ? 'moult up runs them' : 'moult run starts it';
}

function configOf(imported: readonly ImportedApp[]): MoultConfig {
  const [only, ...more] = imported;
  if (only === undefined)
    throw new MoultError('MOULT_CONFIG_FAILED', 'expected at least one app, found none');
  if (more.length === 0) return { name: only.name, ...only.service };
  const names = imported.map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) throw new MoultError('MOULT_CONFIG_FAILED', `two apps have the name ${twice}`);
  return { services: Object.fromEntries(imported.map(({ name, service }) => [name, service])) };
}

const HEADS: Readonly<Record<ImportNote['kind'], string>> = {
  taken: 'taken over',
  changed: 'another meaning',
  none: 'no counterpart',
};

function report({ name, notes }: ImportedApp, columns: number): string {
  const rows = (['taken', 'changed', 'none'] as const).flatMap((kind) =>
    notes
      .filter((one) => one.kind === kind)
      .map(
        ({ key, says }): Row => ({
          cells: [key, HEADS[kind]],
          paint: kind === 'taken' ? { 1: paint.green } : { 1: kind === 'changed' ? paint.yellow : paint.dim },
          below: [says],
        }),
      ),
  );
  return [paint.bold(visibleLine(name)), ...table(['PM2', 'in moult'], rows, columns)].join('\n').trimEnd();
}
