import { type Command, Option } from 'commander';
import { MoultError } from '../../errors.js';
import { FLEET_VARIABLE, type FleetSettings, fleetSettings } from '../../fleet/settings.js';
import { FleetStore } from '../../fleet/store/store.js';

/** The option by which every command of a fleet finds it. */
export function withFleet(command: Command): Command {
  return command.addOption(
    new Option(
      '--fleet <servers>',
      'the NATS servers of the fleet, such as nats://10.0.0.5:4222, or a file with settings',
    ).env(FLEET_VARIABLE),
  );
}

/** @throws MOULT_BAD_OPTION where neither the option nor the variable is there. */
export function settingsFrom(fleet: string | undefined): Promise<FleetSettings> {
  if (fleet !== undefined && fleet !== '') return fleetSettings(fleet);
  const what = `expected --fleet nats://host:4222 or the variable ${FLEET_VARIABLE}, received neither`;
  throw new MoultError('MOULT_BAD_OPTION', what);
}

/** Does something with the buckets of a fleet, and lets go of them. */
export async function withStore<T>(
  fleet: string | undefined,
  work: (store: FleetStore, settings: FleetSettings) => Promise<T>,
): Promise<T> {
  const settings = await settingsFrom(fleet);
  const store = await FleetStore.open(settings);
  try {
    return await work(store, settings);
  } finally {
    await store.close();
  }
}
