import { Command } from 'commander';
import { MoultError } from '../../errors.js';
import type { Asked, Roll } from '../../fleet/roll/roll.js';
import { hasEnded, rollPhases } from '../../fleet/roll/roll-phases.js';
import { rollOf } from '../../fleet/roster.js';
import { rollKey } from '../../fleet/store/keys.js';
import type { FleetStore } from '../../fleet/store/store.js';
import { print } from '../../terminal/print.js';
import { settingsFrom, withFleet, withStore } from './open.js';
import { follow } from './watch.js';

const MOST_TIMES = 20;

interface Flags {
  readonly fleet?: string;
  readonly json?: true;
  readonly wait: boolean;
}

/** What an operator can ask of a roll, from anywhere. */
export function steerCommands(): Command[] {
  return [
    steer('pause', 'let what has begun come to its end, and begin nothing more', 'pause'),
    steer('resume', 'go on with a roll that was paused', 'resume'),
    steer('abort', 'give a roll up: what has begun is finished, what is done stays', 'abort'),
    steer('undo', 'take every host that a roll has replaced back to what it had', 'undo'),
    steer('rollback', 'take the last roll that was done back, on all hosts', 'undo'),
  ];
}

function steer(word: string, description: string, asked: Asked): Command {
  const command = withFleet(new Command(word)).description(description).argument('<name>', 'the service');
  const isLong = asked === 'undo' || asked === 'abort';
  if (isLong) command.option('--no-wait', 'return when it has been asked for');
  return command
    .option('--json', 'print each change and the result as lines of JSON')
    .action(async (name: string, { fleet, json, wait }: Flags) => {
      await withStore(fleet, (store) => ask(store, name, word, asked));
      if (!isLong || !wait) {
        if (json !== true) print(`${word} of ${name} was asked for; moult fleet status shows how it goes`);
        return;
      }
      await follow(await settingsFrom(fleet), name, json === true).catch((error: unknown) => {
        // That is what was asked for.
        if (!(error instanceof MoultError) || error.code !== 'MOULT_ROLL_FAILED') throw error;
        const isAsked = error.message.includes(`was ${asked === 'undo' ? 'undone' : 'stopped'}:`);
        if (!isAsked) throw error;
        if (json !== true) print(error.message);
      });
    });
}

async function ask(store: FleetStore, name: string, word: string, asked: Asked): Promise<void> {
  for (let times = 0; times < MOST_TIMES; times += 1) {
    const found = await rollOf(store, name);
    if (found === undefined || 'trouble' in found) {
      const why = found === undefined ? '' : `; what is in its place means nothing here: ${found.trouble}`;
      throw new MoultError('MOULT_NOT_RUNNING', `there is no roll of ${name} in this fleet${why}`);
    }
    assertFits(found.roll, word, asked);
    const revision = await store.main.compareAndSet(rollKey(name), { ...found.roll, asked }, found.revision);
    if (revision !== undefined) return;
  }
  throw new MoultError('MOULT_ROLL_IN_PROGRESS', `the roll of ${name} is written all the time: try again`);
}

function assertFits({ service, serial, phase }: Roll, word: string, asked: Asked): void {
  const what = `roll ${serial} of ${service} is ${phase}`;
  if (word === 'rollback' && !hasEnded(phase))
    throw new MoultError('MOULT_ROLL_IN_PROGRESS', `${what}: moult fleet undo takes it back`);
  if (rollPhases[phase][asked] === undefined)
    throw new MoultError('MOULT_BAD_OPTION', `${what}: there is nothing to ${word}`);
}
