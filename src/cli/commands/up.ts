import { Command } from 'commander';
import { type ConfiguredService, fileServices, type ServicesFile } from '../../config/file-services.js';
import { asMoultError, MoultError } from '../../errors.js';
import { namedWorkingDirectory } from '../../os/files/working-directory.js';
import { print } from '../../terminal/print.js';
import { PrefixedLines } from '../up/prefixed-lines.js';
import { UpService } from '../up/up-service.js';

interface Flags {
  readonly config?: string | boolean;
}

/** The command `moult up`: the services of a config file in the foreground. Exit status: 0 when all of them ended well. */
export function upCommand(): Command {
  return new Command('up')
    .description('run the services of the config file in the foreground, each under its own supervisor')
    .argument('[names...]', 'the services to run, along with those that they start after (default: all)')
    .option('--config <file>', 'the config file (default: the nearest moult.config.{ts,mts,js,mjs,json})')
    .action(async (names: string[], flags: Flags) => {
      process.exitCode = await up(names, flags);
    });
}

async function up(names: readonly string[], flags: Flags): Promise<number> {
  const cwd = namedWorkingDirectory();
  const file = await fileServices(flags, cwd);
  if (file === undefined) {
    const what = `expected a config file with a command, or with services, found none (looked from ${cwd} up to its package)`;
    throw new MoultError('MOULT_CONFIG_FAILED', what);
  }
  const chosen = withDependencies(file, names);
  const width = Math.max(...chosen.map(({ name }) => name.length));
  const all = new Map(
    chosen.map((one, place) => {
      const lines = new PrefixedLines(one.name, place, width);
      return [one.name, { one, lines, service: new UpService(one, file.file, cwd, lines) }];
    }),
  );
  const services = [...all.values()].map(({ service }) => service);
  let isStopping = false;
  // Those that come after others end before them.
  const stop = async () => {
    const isSecond = isStopping;
    isStopping = true;
    if (isSecond) await Promise.all(services.map((service) => service.stop()));
    else for (const service of [...services].reverse()) await service.stop();
  };
  process.on('SIGINT', stop).on('SIGTERM', stop);
  process.on('SIGHUP', () => {
    for (const service of services) service.leave();
    process.exit(0);
  });
  const begun = new Map<string, Promise<boolean>>();
  for (const { one, lines, service } of all.values()) {
    begun.set(
      one.name,
      beginAfter(one, service, lines, begun, () => isStopping),
    );
  }
  const results = await Promise.all([...begun.values()]);
  const serving = services.filter((_, i) => results[i]);
  if (!isStopping && serving.length > 0) print(summary(serving, services.length));
  const ends = await Promise.all(serving.map(({ ended }) => ended));
  process.off('SIGINT', stop).off('SIGTERM', stop);
  return results.every((did) => did) && ends.every(({ code }) => code === 0) ? 0 : 1;
}

function summary(serving: readonly UpService[], all: number): string {
  const names = serving.map(({ name }) => name).join(', ');
  const which = serving.length === all ? 'all serve' : `${serving.length} of ${all} serve`;
  return `${which}: ${names} (Ctrl-C stops them; moult restart replaces them)`;
}

/** @returns whether it serves. */
async function beginAfter(
  { after }: ConfiguredService,
  service: UpService,
  lines: PrefixedLines,
  begun: ReadonlyMap<string, Promise<boolean>>,
  isStopping: () => boolean,
): Promise<boolean> {
  for (const name of after) {
    if ((await begun.get(name)) !== false) continue;
    lines.say(`not started: it starts after ${name}, which does not serve`);
    return false;
  }
  if (isStopping()) return false;
  try {
    await service.begin();
    return true;
  } catch (error) {
    lines.say(asMoultError(error, 'MOULT_START_FAILED').message);
    return false;
  }
}

/** Those that are named, and those that they come after, in the order of the file. */
function withDependencies({ file, services }: ServicesFile, names: readonly string[]): ConfiguredService[] {
  if (names.length === 0) return [...services];
  const wanted = new Set<ConfiguredService>();
  const add = (name: string) => {
    const found = services.find((one) => one.name === name || one.key === name);
    if (found === undefined) {
      const known = services.map((one) => one.key ?? one.name).join(', ');
      throw new MoultError('MOULT_BAD_OPTION', `expected a service of ${file} (${known}), received ${name}`);
    }
    if (wanted.has(found)) return;
    wanted.add(found);
    for (const other of found.after) add(other);
  };
  for (const name of names) add(name);
  return services.filter((one) => wanted.has(one));
}
