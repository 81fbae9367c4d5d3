/*
 * Over 300 lines: a take-over has one order of steps, and each may be given up. How this supervisor begins where another one runs the service: its first generation takes over from that
 * one's, as in any restart, and when it has proved itself the other supervisor ends.
 */
import { rmSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { Logger } from 'pino';
import type { Channel } from '../../channel/channel.js';
import { Opening } from '../../channel/open.js';
import { asMoultError, MoultError } from '../../errors.js';
import type { StageEvent } from '../../lifecycle/restart-record.js';
import { closeDescriptor } from '../../os/descriptors/descriptor.js';
import { FileLock } from '../../os/files/file-lock.js';
import { isListening } from '../../os/unix-sockets/unix-socket.js';
import type { Message } from '../../protocol/messages.js';
import { type Inheritance, inherit } from '../../service/beginning.js';
import { CONTROL, type RunFolder } from '../journal/run-folder.js';
import type { HeldListeners } from '../listeners/held-listeners.js';
import type { GenerationProcess } from '../process/generation-process.js';
import type { Generations } from '../process/generations.js';
import type { Release } from '../releases/release.js';
import type { CrashRecovery } from '../restart/crash-recovery.js';
import type { Probation } from '../restart/probation.js';
import type { RestartService } from '../restart/restart-service.js';
import type { ConnectionRouter } from '../serving/connection-router.js';
import type { ServingState } from '../serving/serving-state.js';
import type { Shutdown } from '../serving/shutdown.js';
import { RemoteGeneration } from './remote-generation.js';

const OPENING_TIMEOUT_MS = 5000;
/** How long a generation whose supervisor died may take to come here. */
const REJOIN_TIMEOUT_MS = 5000;
const LOOK_MS = 50;
/** How long until the name is asked for again where it could not be taken. */
const NAME_AGAIN_MS = 500;

/** What another supervisor offers, and the conversation with it. */
interface Offer extends Message<'offer'> {
  readonly channel: Channel;
  /** Its lock of its run folder, of which this process has a copy now. */
  readonly lock: FileLock | undefined;
  /** Its copies of the listeners. */
  readonly inherited: Inheritance;
}

/** The supervisor from which another one takes over, by the path of its socket. */
export class Giver {
  readonly control: string;
  readonly #sharesFolder: boolean;
  #offer: Offer | undefined;

  /**
   * @param path of its socket, or of its run folder, as it is seen from here.
   * @param own the run folder of the supervisor that takes over.
   */
  constructor(path: string, own: RunFolder) {
    this.control = isFolder(path) ? join(path, CONTROL) : path;
    this.#sharesFolder = own.isAt(dirname(this.control));
  }

  /** Whether both supervisors have the same run folder. */
  get sharesFolder(): boolean {
    return this.#sharesFolder;
  }

  get folder(): string {
    return dirname(this.control);
  }

  /**
   * Asks it to hand over.
   * @returns undefined when nobody is there: then there is nothing to take over.
   * @throws what it refused with; MOULT_PEER_REFUSED, MOULT_PEER_TIMEOUT, MOULT_PEER_CLOSED, MOULT_SYSTEM_CALL.
   */
  ask(): Offer | undefined {
    this.#offer ??= this.#asked();
    return this.#offer;
  }

  #asked(): Offer | undefined {
    const opening = this.#open();
    if (opening === undefined) return undefined;
    try {
      opening.say({ type: 'take-over', sharesFolder: this.#sharesFolder });
      const { message, incoming } = opening.hear('offer');
      const [fd, ...surplus] = incoming.take();
      for (const one of surplus) closeDescriptor(one);
      const door = join(this.folder, basename(message.door));
      if (!isListening(door)) {
        const what = `its generation ${message.generation} cannot be reached at ${door}: both containers need the same folder`;
        throw new MoultError('MOULT_NOT_SERVING', what);
      }
      const lock = fd === undefined ? undefined : FileLock.inherited(fd);
      const inherited = inherit(opening);
      return { ...message, door, lock, inherited, channel: opening.toChannel() };
    } catch (error) {
      opening.abandon();
      throw error;
    }
  }

  #open(): Opening | undefined {
    try {
      return new Opening(this.control, { role: 'supervisor', node: process.version }, OPENING_TIMEOUT_MS);
    } catch (error) {
      const reason = error instanceof MoultError ? error.details?.reason : undefined;
      if (reason === 'ENOENT' || reason === 'ECONNREFUSED') return undefined;
      throw error;
    }
  }
}

/** What a take-over is made of. */
export interface IncomingTakeoverParts {
  readonly generations: Generations;
  readonly restarts: RestartService;
  readonly probation: Probation;
  readonly crashRecovery: CrashRecovery;
  readonly held: HeldListeners;
  readonly shutdown: Shutdown;
  readonly connectionRouter: ConnectionRouter;
  readonly servingState: ServingState;
  readonly folder: RunFolder;
  readonly log: Logger;
  /** Listens to what a generation says. */
  readonly listen: (generation: GenerationProcess, channel: Channel) => void;
  /** Makes the configured check; rejects when it fails. */
  readonly check: (generation: GenerationProcess) => Promise<void>;
}

type Rejoin = NonNullable<Message<'hello'>['rejoin']>;

/** Takes the service over from another supervisor. */
export class IncomingTakeover {
  readonly #parts: IncomingTakeoverParts;
  #isGivingBack = false;
  #isUnproved = false;
  #isOver = false;
  #sharesFolder = false;

  constructor(parts: IncomingTakeoverParts) {
    this.#parts = parts;
  }

  /** Whether the run folder is another supervisor's still, to which the service may go back. */
  get isGuest(): boolean {
    return this.#isUnproved && this.#sharesFolder;
  }

  /** @throws MOULT_RESTART_IN_PROGRESS while the service may go back to the other supervisor. */
  assertProved(): void {
    if (!this.#isUnproved) return;
    const what = 'the service was just taken over from another supervisor and is still in probation';
    throw new MoultError('MOULT_RESTART_IN_PROGRESS', what, { serving: 'unchanged' });
  }

  /**
   * Starts this release as the successor of what the other supervisor runs.
   * @returns when it has taken over and all that can move has moved; probation goes on.
   * @throws any code of a handover; then the other supervisor's generation serves, and nothing is left here.
   */
  async begin(giver: Giver, offer: Offer, release: Release): Promise<void> {
    const { generations, restarts, shutdown, log } = this.#parts;
    const foreign = this.#meet(offer, release);
    this.#sharesFolder = giver.sharesFolder;
    this.#isUnproved = true;
    shutdown.sparesListeners = true;
    offer.channel.closed.then(() => this.#giverGone(giver, offer, foreign));
    const request = {
      ifBusy: 'wait',
      allowFewerListeners: false,
      untilConfirmed: false,
      whenQuiet: null,
    } as const;
    try {
      const tell = ({ stage, generation: number }: StageEvent) => {
        if (stage === 'spawn') this.#tellWhenServing(offer.channel, number);
      };
      const { generation: number } = await restarts.restart(request, tell, release).catch(async (error) => {
        // The other supervisor died before it had asked its generation, which then comes here by itself.
        if (generations.lastNumber > offer.lastNumber || !(await this.#comesByItself(offer, foreign)))
          throw error;
        return restarts.restart(request, tell, release);
      });
      log.info(
        `generation ${number} serves (process ${generations.numbered(number)?.servicePid}), taken over from ${offer.name} at ${giver.control}`,
      );
      this.#prove(offer, number);
    } catch (error) {
      await generations.allGone();
      this.#isOver = true;
      offer.channel.close();
      throw error;
    }
  }

  /** The other supervisor is gone, and its generation has come to this one. */
  cameBack(foreign: GenerationProcess, { state, accepting, epoch, successor: number }: Rejoin): void {
    const { generations, restarts, servingState } = this.#parts;
    foreign.lifeline?.send({ type: 'direct-output' });
    generations.reached(epoch);
    const successor = generations.numbered(number ?? 0);
    const handover = restarts.handoverTo(number ?? undefined);
    if (number === null || handover === undefined) return;
    if (['probation', 'verifying', 'draining', 'ended'].includes(state) && successor !== undefined) {
      servingState.serving(successor, epoch);
      // How many connections have moved was told to nobody.
      handover.predecessorLost();
    }
    const gone = new MoultError('MOULT_SUCCESSOR_LOST', 'the predecessor serves again');
    // What it said while nobody heard it.
    if (accepting && state === 'serving') {
      if (successor?.servingSince === undefined) servingState.aborted(number, gone);
      else servingState.undone(foreign, number, gone, successor.exit === undefined);
    } else if (state === 'draining' || state === 'ended') servingState.confirmation.confirmed(number);
    else if (state === 'ready' && successor?.settings.checked) {
      this.#parts.check(successor).then(
        () => foreign.lifeline?.send({ type: 'proceed', generation: number }),
        (error) =>
          foreign.lifeline?.send({
            type: 'abort',
            error: asMoultError(error, 'MOULT_CHECK_FAILED').report(),
          }),
      );
    }
  }

  /** Gives the service back before a stop, where the other supervisor can still have it; undefined where it cannot. */
  giveBack(): Promise<void> | undefined {
    const { generations, probation, shutdown } = this.#parts;
    if (!this.#isUnproved || probation.predecessor?.isReachable !== true) return undefined;
    if (this.#isGivingBack) for (const one of generations.own()) one.kill();
    this.#isGivingBack = true;
    probation.takeBack();
    return shutdown.ended.then(() => {});
  }

  async #comesByItself({ channel }: Offer, foreign: RemoteGeneration): Promise<boolean> {
    const limit = performance.now() + REJOIN_TIMEOUT_MS;
    while (channel.isClosed && !foreign.isReachable && performance.now() < limit) {
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
    return channel.isClosed && foreign.isReachable;
  }

  #meet(offer: Offer, release: Release): RemoteGeneration {
    const { generations, crashRecovery, held, listen } = this.#parts;
    const { channel, inherited } = offer;
    generations.machine.on('arrive');
    crashRecovery.cancel();
    inherited.listeners.forEach((item, i) => {
      const fd = inherited.descriptors[i];
      // By its generation: what that one has is not closed when the take-over is undone.
      if (fd !== undefined) held.hold(item, fd, offer.generation);
    });
    generations.countOn(Math.max(offer.lastNumber, offer.generation), offer.epoch);
    if (offer.saysReady) generations.saidReady();
    const settings = generations.settings(false);
    const foreign = new RemoteGeneration(offer.generation, release, settings, offer.door);
    generations.addForeign(foreign);
    // The end of this process is not the other supervisor's affair.
    channel.unref();
    foreign.attach(channel);
    listen(foreign, channel);
    channel.on('gone', () => foreign.hasEnded());
    channel.on('refused', () => channel.close());
    generations.current = foreign;
    return foreign;
  }

  async #prove(offer: Offer, number: number): Promise<void> {
    const { generations, probation, crashRecovery, shutdown, log } = this.#parts;
    const successor = generations.numbered(number);
    try {
      await probation.irrevocable(number);
    } catch (error) {
      const { message, code } = asMoultError(error, 'MOULT_HANDOVER_ABORTED');
      log.error(`the take-over was undone: ${message} (${code}); ${offer.name} serves as before`);
      await generations.allGone();
      this.#isOver = true;
      offer.channel.close();
      shutdown.finish(this.#isGivingBack ? 0 : 1);
      return;
    }
    this.#isUnproved = false;
    shutdown.sparesListeners = false;
    const { machine } = generations;
    // It ended in the same moment, when its predecessor was still thought able to resume.
    if (successor?.exit !== undefined && generations.current?.exit !== undefined) {
      generations.current = undefined;
      if (machine.on('nobody-left') === 'revive') crashRecovery.revive(successor, 'ended');
    } else {
      machine.on('settled');
      if (probation.canResume) machine.on('resumable');
    }
    // The service could not return to its previous release any more, so it is this supervisor's to stop.
    if (this.#isGivingBack) void shutdown.stop();
  }

  // Where its own end is near, it learns here that the service has passed on.
  #tellWhenServing(channel: Channel, number: number): void {
    const { generations } = this.#parts;
    generations.numbered(number)?.serves.then(() => {
      channel.send({ type: 'serving', epoch: generations.epoch, said: generations.sayReady });
    });
  }

  // The lock is ours now: however the other supervisor ended, this one takes its place.
  async #giverGone({ control, folder, sharesFolder }: Giver, { lock }: Offer, foreign: RemoteGeneration) {
    const { connectionRouter, shutdown, log } = this.#parts;
    // It may only have broken off; and of one that ends the kernel closes one descriptor after the other.
    while (isListening(control)) {
      if (this.#isOver || shutdown.hasBegun) return;
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
    if (this.#isOver) return;
    foreign.watch();
    if (shutdown.hasBegun || lock === undefined) return;
    if (sharesFolder) {
      await this.#takeName();
      return;
    }
    try {
      if (foreign.isAlive) {
        rmSync(control, { force: true });
        connectionRouter.open(control);
        await foreign.exited;
        connectionRouter.close(control);
        if (!this.#isUnproved && lock.isOf(join(folder, 'lock')))
          rmSync(folder, { recursive: true, force: true });
      }
      lock.release();
    } catch (error) {
      log.error(`the socket ${control} of the other supervisor cannot be taken over: ${String(error)}`);
    }
  }

  // Nobody else will: while the folder is missing, or has no room, this is tried again.
  async #takeName(): Promise<void> {
    const { connectionRouter, folder, shutdown, log } = this.#parts;
    for (let isTold = false; !this.#isOver && !shutdown.hasBegun; isTold = true) {
      try {
        const missing = folder.restore();
        if (missing !== undefined) log.warn(`the run folder is created again: ${missing}`);
        connectionRouter.close(folder.publicControl);
        folder.clear();
        connectionRouter.open(folder.publicControl);
        folder.standAlone();
        return;
      } catch (error) {
        if (!isTold)
          log.error(`the name ${folder.name} cannot be taken yet (${String(error)}); moult tries again`);
      }
      await new Promise((resolve) => setTimeout(resolve, NAME_AGAIN_MS).unref());
    }
  }
}

function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}
