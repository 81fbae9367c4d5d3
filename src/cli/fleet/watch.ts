import { Command } from 'commander';
import { MoultError } from '../../errors.js';
import { LEADING_HEARTBEAT_MS, MAX_VALUE_BYTES } from '../../fleet/limits.js';
import { pause } from '../../fleet/pause.js';
import { read, rollSchema } from '../../fleet/records.js';
import type { Roll } from '../../fleet/roll/roll.js';
import { hasEnded } from '../../fleet/roll/roll-phases.js';
import { pastRolls } from '../../fleet/roster.js';
import type { FleetSettings } from '../../fleet/settings.js';
import type { BucketEntry } from '../../fleet/store/bucket.js';
import { rollKey } from '../../fleet/store/keys.js';
import { FleetStore } from '../../fleet/store/store.js';
import { tell } from '../../terminal/print.js';
import { settingsFrom, withFleet } from './open.js';
import { showRoll } from './show/show-roll.js';

const AGAIN_MS = 1000;
/** How long to try to reach the servers again. */
const MOST_AWAY_MS = 10 * 60_000;
/** A roll that nobody leads after this time is told of. */
const LEADERLESS_MS = 20_000;

/** A roll that is followed. */
export interface FollowedRoll {
  readonly revision: number;
  readonly serial?: number;
}

/** The command `moult fleet watch`: follows a roll to its end. Exit status: 0 when all hosts have the new release. */
export function watchCommand(): Command {
  return withFleet(new Command('watch'))
    .description('follow the roll of a service to its end')
    .argument('<name>', 'the service')
    .option('--json', 'print each change and the result as lines of JSON')
    .action(async (name: string, { fleet, json }: { fleet?: string; json?: true }) => {
      await follow(await settingsFrom(fleet), name, json === true);
    });
}

/**
 * Shows a roll until it has ended; where the servers are away it waits for them.
 * @param from which roll, and its first revision that counts: a server may still tell an older one; the one that is found where
 * it is not given.
 * @throws MOULT_ROLL_FAILED where it was undone or stopped; MOULT_NOT_RUNNING where there is none.
 */
export async function follow(
  settings: FleetSettings,
  name: string,
  asJson: boolean,
  from: FollowedRoll = { revision: 0 },
): Promise<void> {
  const show = showRoll(name, asJson);
  const interrupted = () => {
    show.end();
    tell(`\nthe roll of ${name} continues; moult fleet watch ${name} follows it`);
    process.exit(130);
  };
  process.once('SIGINT', interrupted);
  try {
    const roll = await toItsEnd(settings, name, from, (one) => show.roll(one));
    show.end(roll);
    if (roll.phase === 'done') return;
    const what = `roll ${roll.serial} of ${name} was ${roll.phase}: ${roll.reason ?? 'as was asked'}`;
    throw new MoultError('MOULT_ROLL_FAILED', what, {
      serving: roll.phase === 'undone' ? 'predecessor' : 'both',
    });
  } finally {
    show.end();
    process.off('SIGINT', interrupted);
  }
}

async function toItsEnd(
  settings: FleetSettings,
  name: string,
  begun: FollowedRoll,
  told: (roll: Roll) => void,
): Promise<Roll> {
  const from: { revision: number; serial?: number } = { ...begun };
  for (let awaySinceMs: number | undefined; ; ) {
    try {
      return await once(settings, name, from, (roll) => {
        awaySinceMs = undefined;
        from.serial = roll.serial;
        told(roll);
      });
    } catch (error) {
      if (!(error instanceof MoultError) || error.code !== 'MOULT_FLEET_UNREACHABLE') throw error;
      awaySinceMs ??= performance.now();
      if (performance.now() - awaySinceMs > MOST_AWAY_MS) throw error;
      await pause(AGAIN_MS);
    }
  }
}

async function once(
  settings: FleetSettings,
  name: string,
  from: FollowedRoll,
  told: (roll: Roll) => void,
): Promise<Roll> {
  const store = await FleetStore.open(settings);
  const begun = performance.now();
  let isLed = false;
  try {
    return await new Promise<Roll>((resolve, reject) => {
      const away = () =>
        reject(new MoultError('MOULT_FLEET_UNREACHABLE', 'the connection to the NATS servers was lost'));
      store.connection.closed().then(away, away);
      let isThere = false;
      let next = from.revision;
      const hear = ({ bytes, revision }: BucketEntry) => {
        isThere = true;
        if (revision < next) return;
        next = revision + 1;
        const found = read(rollSchema, bytes, MAX_VALUE_BYTES);
        if ('trouble' in found) {
          reject(
            new MoultError('MOULT_ROLL_FAILED', `the record of the roll cannot be used: ${found.trouble}`),
          );
          return;
        }
        const roll = found.value;
        if (from.serial !== undefined && roll.serial !== from.serial) {
          endOf(store, name, from.serial).then(resolve, reject);
          return;
        }
        isLed ||=
          roll.phase !== 'rolling' ||
          Object.values(roll.hosts).some(({ state }) => state !== 'waiting' && state !== 'absent');
        told(roll);
        if (hasEnded(roll.phase) && roll.asked === null) resolve(roll);
      };
      const leaderless = setInterval(() => {
        if (isLed || performance.now() - begun < LEADERLESS_MS) return;
        isLed = true;
        tell(
          `no agent leads the roll of ${name} yet: at least one agent that may lead ("lead" in its settings) must be online`,
        );
      }, 1000).unref();
      store.connection.closed().finally(() => clearInterval(leaderless));
      // A roll that has ended already is told of at once: the connection may be closed before this has looked.
      const look = async () => {
        await store.main.watch(rollKey(name), hear, { heartbeatMs: LEADING_HEARTBEAT_MS });
        if (from.revision === 0 && (await store.main.get(rollKey(name))) === undefined && !isThere)
          reject(new MoultError('MOULT_NOT_RUNNING', `there is no roll of ${name} in this fleet`));
      };
      look().catch(reject);
    });
  } finally {
    await store.close();
  }
}

// How a roll ended in whose place another one is by now.
async function endOf(store: FleetStore, name: string, serial: number): Promise<Roll> {
  const past = (await pastRolls(store, name)).find((roll) => roll.serial === serial);
  if (past !== undefined) return past;
  const what = `another roll of ${name} has begun since, and how roll ${serial} ended is unknown`;
  throw new MoultError('MOULT_ROLL_FAILED', what);
}
