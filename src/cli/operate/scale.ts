import { Command, InvalidArgumentError } from 'commander';
import { paint } from '../../terminal/paint.js';
import { print, printJson } from '../../terminal/print.js';
import { visibleLine } from '../../terminal/visible.js';
import { slotNumber } from '../options/option-types.js';
import { ask, findService } from '../services/control.js';

/** The command `moult scale`: more or fewer processes of a service that runs in slots. Exit status: 0 when they serve. */
export function scaleCommand(): Command {
  return new Command('scale')
    .description('change how many processes share a service that was started with --slots')
    .argument('<slots>', 'the new number of processes, or max for one per core')
    .argument('[name]', 'the service (default: the only one that runs)')
    .option(
      '--drop-state',
      'end slots although they have state, timers or jobs that no other slot takes; moult names what is lost',
    )
    .option('--json', 'print the result as a line of JSON')
    .action(
      async (
        first: string,
        second: string | undefined,
        flags: { readonly json?: true; readonly dropState?: true },
        command: Command,
      ) => {
        const { slots, name } = inEitherOrder(first, second, command);
        const dropState = flags.dropState === true ? { dropState: true } : {};
        const value = await ask(await findService(name), { type: 'scale', slots, ...dropState });
        if (flags.json === true) printJson({ type: 'result', ok: true, ...value });
        else {
          print(
            `${paint.green('✓')} ${visibleLine(`${value.slots} slots serve (${value.were} did before)`)}`,
          );
          for (const one of lostOf(value.lost)) print(`  ${paint.yellow('lost')}: ${visibleLine(one)}`);
        }
      },
    );
}

interface Lost {
  readonly name: string;
  readonly kind?: string;
  readonly slots: number;
  readonly entries?: number;
  readonly unknown?: true;
}

/** A line for each piece of state that ended with its slot. */
function lostOf(lost: unknown): string[] {
  return ((lost ?? []) as readonly Lost[]).map(({ name, kind, slots, entries, unknown }) => {
    if (unknown === true) return `whatever ${name} had, which did not say in time`;
    const counted = kind === undefined ? `entries of the map ${name}` : `${kind} of the name ${name}`;
    const what = entries === undefined ? `the state ${name}` : `${entries} ${counted}`;
    return `${what} of ${slots === 1 ? 'the slot that has' : `${slots} slots that have`} ended`;
  });
}

const NUMBER = /^(\d+|max)$/;

/** `scale 2 api`, and `scale api 2` as other tools have it. A service may be called 2: then the number comes first. */
function inEitherOrder(first: string, second: string | undefined, command: Command) {
  const isTurned = !NUMBER.test(first) && second !== undefined && NUMBER.test(second);
  const [number, name] = isTurned ? [second, first] : [first, second];
  try {
    return { slots: slotNumber(number), name };
  } catch (error) {
    if (!(error instanceof InvalidArgumentError)) throw error;
    return command.error(`error: argument 'slots' is invalid. ${error.message}`, { exitCode: 2 });
  }
}
