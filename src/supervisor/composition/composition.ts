/*
 * Over 300 lines: all parts of a supervisor are made here, in the order in which they need each other.
 */
import type { Logger } from 'pino';
import type { Channel } from '../../channel/channel.js';
import { MoultError } from '../../errors.js';
import { connectionsOf } from '../../programs/connections.js';
import type { ServiceManagerLink } from '../../service-manager/service-manager.js';
import { Journal } from '../journal/journal.js';
import { JournalFile } from '../journal/journal-file.js';
import type { RunFolder } from '../journal/run-folder.js';
import { HeldListeners } from '../listeners/held-listeners.js';
import { HeldPaths } from '../listeners/held-paths.js';
import type { SupervisorOptions } from '../options.js';
import type { OutputFile } from '../output/output-file.js';
import { GenerationNumbers } from '../process/generation-numbers.js';
import type { GenerationProcess } from '../process/generation-process.js';
import type { Outputs } from '../process/process-tree.js';
import { ServiceFilesFinder } from '../process/service-files.js';
import { ListenSockets } from '../programs/listen-sockets.js';
import { OutsideLook } from '../reachability/outside-look.js';
import { UnseenWatch } from '../reachability/unseen-watch.js';
import { KeptReleases } from '../releases/kept-releases.js';
import { resolveRelease } from '../releases/release.js';
import { runCheck } from '../restart/health-check.js';
import type { ServiceSettings } from '../service-settings.js';
import { ConnectionRouter } from '../serving/connection-router.js';
import { FolderGuard } from '../serving/folder-guard.js';
import { Shutdown } from '../serving/shutdown.js';
import { InitialSlots } from '../slots/initial-slots.js';
import { listenerSharing } from '../slots/listener-sharing.js';
import { Rebalancer } from '../slots/rebalancer.js';
import { Recycler } from '../slots/recycler.js';
import { RollingRestart } from '../slots/rolling-restart.js';
import { Scaling } from '../slots/scaling.js';
import { Slot } from '../slots/slot.js';
import { SlotIntroductions } from '../slots/slot-introductions.js';
import { slotTeller } from '../slots/slot-teller.js';
import { Slots } from '../slots/slots.js';
import { StickyRoutes } from '../slots/sticky-routes.js';
import { IncomingTakeover } from '../takeover/incoming-takeover.js';
import { InPlaceUpgrade, type NextProgram } from '../upgrade/in-place-upgrade.js';
import { generationFactory } from './generation-factories.js';
import { beInit } from './init.js';
import { ServiceReport } from './service-report.js';
import { Startup } from './startup.js';

/** What a supervisor is started with. */
export interface SupervisorSurroundings {
  readonly folder: RunFolder;
  readonly settings: ServiceSettings;
  readonly log: Logger;
  readonly outputs: Outputs;
  /** The file of `--output`, where there is one. */
  readonly outputFile: OutputFile | undefined;
  /** The program that this process can become. */
  readonly next: NextProgram;
  readonly manager: ServiceManagerLink;
  /** When this program of the supervisor began, in milliseconds since 1970. */
  readonly startedAt: number;
}

/** What the parts ask of their supervisor. */
export interface SupervisorCalls {
  /** Answers what an operator asks over a channel. */
  operate(channel: Channel): void;
  /** Replaces the generation of a slot by a new one of the same release. */
  recycle(slot: Slot, because: string): Promise<object>;
}

/** What a supervisor is made of. */
export interface SupervisorParts {
  /** Settles with the exit code of `moult run`, when all of it has ended. */
  readonly ended: Promise<number>;
  readonly hasSlots: boolean;
  readonly slots: Slots;
  /** The only slot, or the one that is there from the first start to the last stop. */
  readonly first: Slot;
  readonly held: HeldListeners;
  readonly journal: Journal;
  readonly manager: ServiceManagerLink;
  readonly look: OutsideLook;
  readonly guard: FolderGuard;
  readonly shutdown: Shutdown;
  readonly rollingRestart: RollingRestart;
  readonly takeOver: IncomingTakeover;
  readonly upgrade: InPlaceUpgrade;
  readonly report: ServiceReport;
  readonly startup: Startup;
  /** Whether the run folder is, or will be again, another supervisor's: then it stays. */
  leavesFolder(): boolean;
}

/** Makes all parts of a supervisor. */
export function compose(
  { folder, settings, log, outputs, outputFile, next, manager, startedAt }: SupervisorSurroundings,
  { operate, recycle }: SupervisorCalls,
): SupervisorParts {
  // The same objects all the time: a restart writes what holds from then on into them.
  const { service, options } = settings;
  const hasSlots = options.slots !== null;

  // There are none until they can be made, below: what is made before asks for them when something happens.
  const slots = new Slots();
  const firstIndex = hasSlots ? 0 : undefined;

  // What the service has: its journal, its listeners, its files, its releases.
  const journal = journalOf(folder, log, slots);
  const sharing = hasSlots ? listenerSharing(slots) : undefined;
  const held = new HeldListeners(manager.store, sharing, new HeldPaths(folder.path));
  const own = new ListenSockets(options.listen, held, journal);
  const files = new ServiceFilesFinder(folder.path, (what) => log.error(what));
  const kept = new KeptReleases({
    options: () => options.keep,
    name: folder.name,
    needed: () => slots.neededReleases(),
    log,
    tell: (what) => manager.tell(what),
  });

  // What works on all slots.
  const shutdown = new Shutdown({ slots: () => slots.all, held, manager, options, journal, log });
  const look = new OutsideLook({
    held,
    withinMs: () => options.hangTimeoutMs,
    acceptors: (one) => slots.acceptorsBeside(one),
    living: () => slots.generations(),
  });
  const homes = new StickyRoutes(slots, () => options.sticky);
  const introductions = new SlotIntroductions(slots);
  const slotStartup = new InitialSlots({ slots, options, journal, folder, log });

  // How processes and operators reach the supervisor.
  const connectionRouter = new ConnectionRouter({
    slotOf: (generation) => slots.of(generation),
    placeOf: (pid) => slots.placeOf(pid),
    unknown: (pid, number) => slotStartup.meet(pid, number, resolveRelease(service)),
    held,
    joined: (generation, wasThere) => {
      homes.greet(generation, wasThere);
      introductions.tell();
    },
    serve: (channel) => operate(channel),
    cede: (channel) => {
      if (hasSlots) throw severalSlots();
      if (options.changeover === 'exclusive') throw runsAlone();
      slots.at(firstIndex).outgoingTakeover.receive(channel);
    },
  });
  const guard = new FolderGuard({
    folder,
    connectionRouter,
    journal,
    generations: () => slots.generations(),
    log,
  });

  // The slots.
  const unseen = new UnseenWatch({
    generations: () => slots.generations(),
    placeOf: (generation) => {
      const slot = slots.of(generation.number);
      return slot?.generations.current === generation ? slot : undefined;
    },
    held,
    folder: folder.path,
    log,
  });
  const check = async (generation: GenerationProcess) => {
    await unseen.assertNoneLeft(generation);
    await configuredCheck(generation, options, held, folder.path);
  };
  const shared = {
    kept,
    look,
    unseen,
    folder,
    settings,
    options,
    numbers: new GenerationNumbers(),
    held,
    shutdown,
    check,
    connections: ({ pid }: GenerationProcess) => connectionsOf(pid, held.describe().descriptors).length,
    moved: () => {
      homes.tell();
      introductions.tell();
      look.turned();
    },
  };
  const factoryParts = { folder, options, outputs, outputFile, held, own, files, kept, guard, journal, log };
  slots.madeBy((index) => {
    const maker = (listen: Slot['listen']) => generationFactory(factoryParts, index, listen);
    if (index === undefined) return new Slot({ ...shared, index, maker, manager, journal, log });
    return new Slot({
      ...shared,
      index,
      maker,
      manager: slotTeller(index, slots, manager),
      journal: journal.ofSlot(index),
      log: settings.follows(log.child({ slot: index })),
    });
  });
  const first = slots.at(firstIndex);

  // What replaces generations, and the supervisor itself.
  const rollingRestart = new RollingRestart({
    slots,
    scaling: new Scaling({ slots, held, look, kept, options, journal, log }),
    look,
    settings,
    shutdown,
    log,
  });
  const takeOver = new IncomingTakeover({ ...first, held, shutdown, connectionRouter, folder, log, check });
  connectionRouter.onCameBack((generation, how) => takeOver.cameBack(generation, how));
  const isFolderOfOther = () => first.outgoingTakeover.hasCededFolder || takeOver.isGuest;
  const leavesFolder = () => isFolderOfOther() || guard.isDisplaced;
  const upgrade = new InPlaceUpgrade({
    next,
    folder,
    options,
    held,
    slots,
    first,
    rollingRestart,
    takeOver,
    connectionRouter,
    leavesFolder,
    shutdown,
    log,
  });

  // What looks at the service now and then.
  const isBusy = () => shutdown.hasBegun || rollingRestart.isUnderWay;
  const rebalancer = new Rebalancer(slots, () => options.sticky !== null || isBusy());
  if (hasSlots) rebalancer.start();
  const recycler = new Recycler({
    slots,
    options,
    log,
    isBusy: () => isBusy() || upgrade.isUnderWay,
    recycle: (slot, because) => recycle(slot, because),
  });
  recycler.start();
  if (!options.isProgram) unseen.start();
  const endInit = process.pid === 1 ? beInit(() => slots.generations()) : () => {};

  // How it does, its start and its end.
  const report = new ServiceReport({
    name: folder.name,
    startedAt,
    settings,
    slots,
    first,
    slotStartup,
    rollingRestart,
    recycler,
    shutdown,
  });
  const startup = new Startup({
    folder,
    service,
    options,
    held,
    own,
    slots,
    first,
    slotStartup,
    homes,
    connectionRouter,
    guard,
    isOurs: () => !isFolderOfOther() && !first.outgoingTakeover.isUnderWay,
    takeOver,
    manager,
    shutdown,
    journal,
    log,
  });
  const ended = shutdown.ended.finally(() => {
    rebalancer.stop();
    recycler.stop();
    unseen.stop();
    guard.stop();
    startup.stop();
    files.close();
    endInit();
    own.close();
    if (!shutdown.sparesListeners && !manager.keepsListeners) own.removePaths();
    connectionRouter.close();
    manager.close();
  });
  return {
    ended,
    hasSlots,
    slots,
    first,
    held,
    journal,
    manager,
    look,
    guard,
    shutdown,
    rollingRestart,
    takeOver,
    upgrade,
    report,
    startup,
    leavesFolder,
  };
}

function journalOf(folder: RunFolder, log: Logger, slots: Slots): Journal {
  const file = new JournalFile(folder.journal, (error) =>
    log.error(
      `the journal cannot be written (${String(error)}); the service keeps running; moult writes what is needed as soon as it can`,
    ),
  );
  const journal = new Journal(file);
  journal.tellsAnew(() => slots.facts());
  return journal;
}

async function configuredCheck(
  generation: GenerationProcess,
  { check }: SupervisorOptions,
  held: HeldListeners,
  folder: string,
): Promise<void> {
  if (check === null) return;
  const first = held
    .describe()
    .items.find(({ family, spare }) => (family === 'tcp' || family === 'unix') && !spare);
  const isTls = first?.ticketKeys !== undefined;
  await runCheck(generation, check, isTls, folder);
}

function severalSlots(): MoultError {
  const what = 'this service runs in slots, which cannot be taken over: stop it, or restart it in place';
  return new MoultError('MOULT_BAD_OPTION', what);
}

function runsAlone(): MoultError {
  const what =
    'this service must never run twice (--changeover exclusive), which a take-over would do: stop it, or restart it in place';
  return new MoultError('MOULT_BAD_OPTION', what);
}
