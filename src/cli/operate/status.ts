import { Command } from 'commander';
import { asMoultError, MoultError } from '../../errors.js';
import { RunFolder } from '../../supervisor/journal/run-folder.js';
import type { ServiceStatus } from '../../supervisor/status.js';
import { clearScreen, outliveReader, print, printJson } from '../../terminal/print.js';
import { screenOf } from '../../terminal/screen.js';
import { visibleLine } from '../../terminal/visible.js';
import { ask, findService } from '../services/control.js';
import { missingServices } from '../services/meant-services.js';
import {
  isRunning,
  type LeftService,
  leftServices,
  runningServices,
  withoutSupervisor,
} from '../services/services.js';
import { leftText, silentText, statusText } from '../show/status-text.js';

const WATCH_MS = 1000;

interface Flags {
  readonly json?: true;
  readonly watch?: true;
}

/** A service whose supervisor did not say how it does. */
interface Silent {
  readonly name: string;
  readonly error: MoultError;
}

interface All {
  readonly answered: readonly ServiceStatus[];
  readonly silent: readonly Silent[];
  readonly left: readonly LeftService[];
}

/** The command `moult status`: every service of this user, or the one named. Exit status: 1 where one has no supervisor that answers. */
export function statusCommand(): Command {
  return new Command('status')
    .description('show running services and their generations')
    .argument('[name]', 'the service (default: all)')
    .option('--json', 'print JSON: one object for a named or only service, else a list')
    .option('--watch', 'refresh every second until interrupted')
    .action(async (name: string | undefined, flags: Flags) => {
      let isRead = true;
      outliveReader(() => {
        isRead = false;
      });
      do {
        const all = name === undefined ? await readAll() : await readOne(name);
        if (flags.json === true) showJson(all);
        else {
          if (flags.watch === true) clearScreen();
          print(textOf(all, screenOf(process.stdout).columns));
          const missing = name === undefined ? await missingServices() : [];
          if (missing.length > 0)
            print(`\n${visibleLine(missing.join(', '))}: in the config file, and not running (moult up)`);
        }
        process.exitCode = all.silent.length + all.left.length > 0 ? 1 : (process.exitCode ?? 0);
        if (flags.watch === true) await new Promise((resolve) => setTimeout(resolve, WATCH_MS));
      } while (flags.watch === true && isRead);
    });
}

async function readOne(name: string): Promise<All> {
  const status = (await ask(await findService(name), { type: 'status' })) as unknown as ServiceStatus;
  return { answered: [status], silent: [], left: [] };
}

/** All at once, each with its own limit: one that stands still hides no other. */
async function readAll(): Promise<All> {
  const names = await runningServices();
  const left = leftServices(names);
  if (names.length + left.length === 0) await findService(undefined);
  const answers = await Promise.all(
    names.map(async (name) => {
      try {
        return (await ask(await findService(name), { type: 'status' })) as unknown as ServiceStatus;
      } catch (error) {
        return { name, error: asMoultError(error, 'MOULT_PEER_CLOSED') };
      }
    }),
  );
  const answered = answers.filter((one): one is ServiceStatus => !('error' in one));
  const failed = answers.filter((one): one is Silent => 'error' in one);
  const isThere = await Promise.all(failed.map(stillThere));
  const silent = failed.filter((_, at) => isThere[at]);
  const [only] = silent;
  if (answered.length + left.length === 0 && silent.length <= 1) throw only?.error ?? noneLeft();
  return { answered, silent, left };
}

/** One that has just ended is none that hides something. */
function stillThere({ name }: Silent): Promise<boolean> {
  return isRunning(new RunFolder(name));
}

function noneLeft(): MoultError {
  return new MoultError('MOULT_NOT_RUNNING', 'the service has just ended');
}

function showJson({ answered, silent, left }: All): void {
  const all = [
    ...answered,
    ...silent.map(({ name, error }) => ({ name, state: 'silent', generations: [], error: error.report() })),
    ...left.map((one) => ({
      name: one.name,
      state: 'unsupervised',
      command: one.command,
      startedAt: one.startedAt,
      generations: one.generations.map(({ generation, pid, slot }) => ({
        ...(slot === undefined ? {} : { slot }),
        generation,
        pid,
        state: 'unsupervised',
      })),
      error: withoutSupervisor(one).report(),
    })),
  ].sort((one, other) => (one.name < other.name ? -1 : 1));
  printJson(all.length === 1 ? all[0] : all);
}

function textOf({ answered, silent, left }: All, columns: number): string {
  const blocks = [
    ...answered.map((status) => ({ name: status.name, text: statusText(status, columns) })),
    ...silent.map(({ name, error }) => ({ name, text: silentText(name, error, columns) })),
    ...left.map((one) => ({ name: one.name, text: leftText(one, columns) })),
  ];
  return blocks
    .sort((one, other) => (one.name < other.name ? -1 : 1))
    .map(({ text }) => text)
    .join('\n\n');
}
