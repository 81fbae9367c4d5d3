import { Command } from 'commander';
import { MoultError } from '../../errors.js';
import { pause } from '../../fleet/pause.js';
import { mayAsk } from '../../fleet/roll/asking.js';
import type { Asked, Roll } from '../../fleet/roll/roll.js';
import { hasEnded } from '../../fleet/roll/roll-phases.js';
import { rollOf } from '../../fleet/roster.js';
import { rollKey } from '../../fleet/store/keys.js';
import type { FleetStore } from '../../fleet/store/store.js';
import { print } from '../../terminal/print.js';
import { settingsFrom, withFleet, withStore } from './open.js';
import { type FollowedRoll, follow } from './watch.js';

/** So often it is tried where others write the roll, and so often where it does not fit. */
const MOST_TIMES = 50;
const MOST_LOOKS = 3;
const LOOK_MS = 100;

interface Flags {
  readonly fleet?: string;
  readonly json?: true;
  readonly wait: boolean;
}

/** What an operator can ask of a roll, from anywhere. */
export function steerCommands(): Command[] {
  return [
    steer('pause', 'finish the restarts in progress, and start no more', 'pause'),
    steer('resume', 'continue a paused roll', 'resume'),
    steer('abort', 'end a roll: restarts in progress finish, replaced hosts keep the new release', 'abort'),
    steer('undo', 'return every host that a roll has replaced to its previous release', 'undo'),
    steer('rollback', 'undo the last finished roll, on all hosts', 'undo'),
  ];
}

function steer(word: string, description: string, asked: Asked): Command {
  const command = withFleet(new Command(word)).description(description).argument('<name>', 'the service');
  const isLong = asked === 'undo' || asked === 'abort';
  if (isLong) command.option('--no-wait', 'return without waiting for the result');
  return command
    .option('--json', 'print each change and the result as lines of JSON')
    .action(async (name: string, { fleet, json, wait }: Flags) => {
      const begun = await withStore(fleet, (store) => ask(store, name, word, asked));
      if (!isLong || !wait) {
        if (json !== true) print(`${word} of ${name} requested; moult fleet status shows its progress`);
        return;
      }
      await follow(await settingsFrom(fleet), name, json === true, begun).catch((error: unknown) => {
        // That is what was asked for.
        if (!(error instanceof MoultError) || error.code !== 'MOULT_ROLL_FAILED') throw error;
        const isAsked = error.message.includes(`was ${asked === 'undo' ? 'undone' : 'stopped'}:`);
        if (!isAsked) throw error;
        if (json !== true) print(error.message);
      });
    });
}

/** @returns the roll, from the revision on that asks for it. */
async function ask(store: FleetStore, name: string, word: string, asked: Asked): Promise<FollowedRoll> {
  for (let times = 1; ; times += 1) {
    try {
      const begun = await askOnce(store, name, word, asked);
      if (begun !== undefined) return begun;
    } catch (error) {
      if (times >= MOST_LOOKS) throw error;
    }
    if (times === MOST_TIMES) {
      const what = `the roll of ${name} kept changing during the command: try again`;
      throw new MoultError('MOULT_ROLL_IN_PROGRESS', what);
    }
    // A server may lag behind: what does not fit is looked at again.
    await pause(LOOK_MS);
  }
}

async function askOnce(
  store: FleetStore,
  name: string,
  word: string,
  asked: Asked,
): Promise<FollowedRoll | undefined> {
  const found = await rollOf(store, name);
  if (found === undefined || 'trouble' in found) {
    const why = found === undefined ? '' : `; its record cannot be used: ${found.trouble}`;
    throw new MoultError('MOULT_NOT_RUNNING', `there is no roll of ${name} in this fleet${why}`);
  }
  assertFits(found.roll, word, asked);
  const revision = await store.main.compareAndSet(rollKey(name), { ...found.roll, asked }, found.revision);
  return revision === undefined ? undefined : { revision, serial: found.roll.serial };
}

function assertFits(roll: Roll, word: string, asked: Asked): void {
  const { service, serial, phase } = roll;
  const what = `roll ${serial} of ${service} is ${phase}`;
  if (word === 'rollback' && !hasEnded(phase))
    throw new MoultError('MOULT_ROLL_IN_PROGRESS', `${what}: use moult fleet undo`);
  const may = mayAsk(roll, asked);
  if (may === 'outweighed')
    throw new MoultError('MOULT_ROLL_IN_PROGRESS', `${what}, and ${roll.asked} was requested`);
  if (may === 'unfit') throw new MoultError('MOULT_BAD_OPTION', `${what}: there is nothing to ${word}`);
}
