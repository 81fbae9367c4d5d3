import type { Logger } from 'pino';
import { lastKept } from '../../logs/kept-reader.js';
import type { Journal } from '../journal/journal.js';
import type { RunFolder } from '../journal/run-folder.js';
import type { HeldListeners } from '../listeners/held-listeners.js';
import type { SupervisorOptions } from '../options.js';
import type { OutputFile } from '../output/output-file.js';
import { MAX_LINES } from '../output/output-tail.js';
import {
  afterwards,
  type GenerationFactory,
  serviceFactory,
  telling,
} from '../process/generation-factory.js';
import type { GenerationProcess } from '../process/generation-process.js';
import type { Outputs } from '../process/process-tree.js';
import { readyAfterOf, readyTimes } from '../process/ready-times.js';
import type { ServiceFilesFinder } from '../process/service-files.js';
import type { ListenSockets } from '../programs/listen-sockets.js';
import { programFactory } from '../programs/program-factory.js';
import type { ProgramMeans } from '../programs/program-generation.js';
import type { KeptReleases } from '../releases/kept-releases.js';
import type { FolderGuard } from '../serving/folder-guard.js';
import type { Slot } from '../slots/slot.js';

/** What generations are started with. */
export interface GenerationFactoriesParts {
  readonly folder: RunFolder;
  readonly options: SupervisorOptions;
  readonly outputs: Outputs;
  /** The file of `--output`, where there is one. */
  readonly outputFile: OutputFile | undefined;
  readonly held: HeldListeners;
  readonly own: ListenSockets;
  readonly files: ServiceFilesFinder;
  readonly kept: KeptReleases;
  readonly guard: FolderGuard;
  readonly journal: Journal;
  readonly log: Logger;
}

/** Makes what makes the generations of one slot, of a service or of a program that knows nothing of moult. @param index of the slot, where there are several. */
export function generationFactory(
  parts: GenerationFactoriesParts,
  index: number | undefined,
  listen: Slot['listen'],
): GenerationFactory {
  const { folder, options, outputs, held, files, kept, guard, journal } = parts;
  const made = options.isProgram
    ? programFactory({ means: () => meansOf(parts), listen })
    : serviceFactory(
        folder.control,
        outputs,
        () => files.find(),
        held,
        () => readyTimes(options),
        index,
        () => options.instanceVar,
      );
  const own = index === undefined ? journal : journal.ofSlot(index);
  const keeping = telling((generation) => kept.keep(generation, own), made);
  return afterwards(() => guard.look(), inRunFolder(folder, keeping));
}

/** The same, each with what it has in the run folder: its socket, and what is kept of its output. */
function inRunFolder(folder: RunFolder, maker: GenerationFactory): GenerationFactory {
  const placed = (generation: GenerationProcess) => {
    generation.runFolder = folder.path;
    generation.keptSince = (ms) =>
      lastKept(folder.path, generation.number, ms, MAX_LINES) ?? generation.tree.output.lines();
    return generation;
  };
  return {
    start: (...args) => placed(maker.start(...args)),
    adopt: (...args) => placed(maker.adopt(...args)),
  };
}

function meansOf(parts: GenerationFactoriesParts): ProgramMeans {
  const { folder, options, outputs, outputFile, held, own, files, journal, log } = parts;
  const { listen, waitReady, stopSignal } = options;
  // One that has sockets is ready when it accepts on them.
  const mayAccept = listen.length > 0 || held.size > 0 || waitReady;
  return {
    socketSet: (isBeside) => own.socketSet(isBeside),
    socketSetOf: (generation) => own.socketSetOf(generation),
    turned: () => own.keepChosen(),
    stopping: (generation) => journal.write({ event: 'stopping', generation }),
    folder: folder.path,
    exec: () => files.find().exec,
    readyAfterMs: mayAccept ? options.readyAfterMs : readyAfterOf(options),
    stopSignal,
    outputs: outputFile === undefined ? undefined : outputs,
    warn: (what) => log.warn(what),
  };
}
