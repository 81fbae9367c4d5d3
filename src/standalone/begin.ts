import { join } from 'node:path';
import { makePrivate, runRoot } from '../channel/private-folder.js';
import { MoultError } from '../errors.js';
import { wallClockMs } from '../os/clock.js';
import { closeDescriptor } from '../os/descriptors/descriptor.js';
import { trustUids } from '../os/unix-sockets/peer.js';
import { type Beginning, type Inheritance, succeed } from '../service/beginning.js';
import { managerVariables, takeServiceManager } from '../service-manager/environment.js';
import { type Passed, sortPassed, takePassed } from '../service-manager/passed.js';
import { ServiceManagerLink } from '../service-manager/service-manager.js';
import { type SelfEvents, SelfOverseer } from './self-overseer.js';
import { type StandaloneOptions, settingsOf } from './standalone-options.js';
import { takeInheritable } from './variables.js';

/** The folder of the sockets of services without a supervisor; no service can have this name. */
const FOLDER = '.alone';

/**
 * Begins this process's generation without a supervisor: as the successor of the process that started it, of
 * one that it finds as a stranger, or as the first.
 * @throws whatever the predecessor refused with.
 */
export function beginAlone(options: StandaloneOptions, events: SelfEvents): Beginning {
  trustUids(options.allowUids);
  const folder = join(runRoot(), FOLDER);
  makePrivate(folder);
  const from = takeInheritable(process.env);
  const door = from?.door ?? options.takeOver;
  const taken = door === null ? undefined : fromPredecessor(door, from?.generation);
  const started = takeServiceManager(process.env);
  const manager = new ServiceManagerLink(started, {
    warn: (text) => process.emitWarning(text, 'MoultWarning'),
  });
  const passed = takePassed(process.env);
  const inheritance = taken?.inheritance ?? fromManager(passed, manager);
  const number = from?.generation ?? inheritance.generation ?? 1;
  const withManager = { ...options, variables: started === undefined ? {} : managerVariables(started) };
  const overseer = new SelfOverseer(number, folder, withManager, taken !== undefined, manager, events);
  if (taken?.giver !== undefined) overseer.succeeds(taken.giver.peer.pid, door ?? '', inheritance.epoch);
  return { number, settings: settingsOf(options), overseer, inheritance, giver: taken?.giver };
}

// The sockets of its socket units, and what the last start of the unit left.
function fromManager(passed: readonly Passed[], manager: ServiceManagerLink): Inheritance {
  const { listeners, dead } = sortPassed(passed);
  for (const { fd, name } of dead) {
    closeDescriptor(fd);
    manager.store?.forget(name);
  }
  return {
    epoch: Math.floor(wallClockMs()),
    listeners: listeners.map(({ item }) => item),
    descriptors: listeners.map(({ fd }) => fd),
  };
}

// One that has died since it started this process has left nothing to take over, and neither has a stranger who
// is not there: this one begins anew.
function fromPredecessor(door: string, number: number | undefined): ReturnType<typeof succeed> | undefined {
  try {
    return succeed(door, number);
  } catch (error) {
    const reason = error instanceof MoultError ? error.details?.reason : undefined;
    if (reason === 'ENOENT' || reason === 'ECONNREFUSED') return undefined;
    throw error;
  }
}
