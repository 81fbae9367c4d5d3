import type { Settings } from '../../protocol/messages.js';
import type { HeldListeners } from '../listeners/held-listeners.js';
import type { Release } from '../releases/release.js';
import { GenerationProcess } from './generation-process.js';
import type { Outputs, ProcessTree } from './process-tree.js';
import type { ServiceFiles } from './service-files.js';
import { loadsNoAddons } from './start-facts.js';

/** Makes generations of one kind of service. */
export interface GenerationFactory {
  /** Starts one. @param predecessor the one from which it takes over. @param metAddonless whether the last one that came here could not pass descriptors. */
  start(
    number: number,
    release: Release,
    settings: Settings,
    predecessor: GenerationProcess | undefined,
    metAddonless?: boolean,
  ): GenerationProcess;
  /** Takes one over that an earlier supervisor started. */
  adopt(number: number, release: Release, settings: Settings, tree: ProcessTree): GenerationProcess;
}

/**
 * Makes generations of a service that speaks with its supervisor itself.
 * @param control the socket at which it finds that.
 * @param files finds what of moult a process of the service loads.
 * @param ready says how long after its start one that shows no listener is ready, and one that is busy all the time.
 * @param held the listeners that are held for it.
 * @param slot of the service, where it has several.
 * @param instanceVar says which variable has its number, too.
 */
export function serviceFactory(
  control: string,
  outputs: Outputs,
  files: () => ServiceFiles,
  held: HeldListeners,
  ready: () => { readonly afterMs: number; readonly busyAfterMs: number; readonly busyAloneAfterMs: number },
  slot?: number,
  instanceVar: () => string | null = () => null,
): GenerationFactory {
  return {
    start: (number, release, settings, predecessor, metAddonless = false) => {
      // Only one that takes over has to be ready in time.
      const { afterMs, busyAfterMs, busyAloneAfterMs } = ready();
      const busyReadyAfterMs = predecessor === undefined ? busyAloneAfterMs : busyAfterMs;
      const lives = settings.waitReady ? {} : { readyAfterMs: afterMs, busyReadyAfterMs };
      const around = {
        supervisor: control,
        held: held.claimable(),
        slot,
        instanceVar: instanceVar() ?? undefined,
        ...lives,
      };
      const atStart = metAddonless || loadsNoAddons(release) ? held.describe() : undefined;
      return GenerationProcess.start(number, release, settings, around, outputs, files(), atStart);
    },
    adopt: (number, release, settings, tree) => new GenerationProcess(number, release, settings, tree),
  };
}

/** The same, which tells of each that was started. */
export function telling(
  started: (generation: GenerationProcess) => void,
  maker: GenerationFactory,
): GenerationFactory {
  return {
    start: (...args) => {
      const generation = maker.start(...args);
      started(generation);
      return generation;
    },
    adopt: (...args) => maker.adopt(...args),
  };
}

/** The same, after something else that each start needs. */
export function afterwards(prepare: () => void, maker: GenerationFactory): GenerationFactory {
  return {
    start: (...args) => {
      prepare();
      return maker.start(...args);
    },
    adopt: (...args) => maker.adopt(...args),
  };
}
