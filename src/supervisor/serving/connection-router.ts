import { dirname } from 'node:path';
import type { Channel } from '../../channel/channel.js';
import { Door } from '../../channel/door.js';
import { openWhenGreeted } from '../../channel/open.js';
import { MoultError } from '../../errors.js';
import { isOfTree } from '../../os/processes/proc-tree.js';
import type { Message } from '../../protocol/messages.js';
import type { HeldListeners } from '../listeners/held-listeners.js';
import type { GenerationProcess } from '../process/generation-process.js';
import type { Generations } from '../process/generations.js';
import { isServiceOfDoor, type LeftDoor } from '../process/orphan-doors.js';
import type { RestartService } from '../restart/restart-service.js';
import type { OrphanAdoption } from './orphan-adoption.js';

/** How long a generation may take to say where others join it; who asks stands still meanwhile. */
const MEMBERS_TIMEOUT_MS = 2000;

/** What a generation is led to: the slot to which it belongs. */
export interface ReceivingSlot {
  readonly generations: Generations;
  readonly restarts: RestartService;
  readonly adoption: OrphanAdoption;
  /** A generation has come: listens to what it says. */
  readonly listen: (generation: GenerationProcess, channel: Channel) => void;
}

/** A generation, and the slot to which it belongs. */
export interface Place {
  readonly slot: ReceivingSlot | undefined;
  readonly generation: GenerationProcess | undefined;
}

/** What visitors are given, and led to. */
export interface ConnectionRouterParts {
  /** The slot with the generation of this number, while that lives. */
  readonly slotOf: (generation: number) => ReceivingSlot | undefined;
  /** The generation to whose processes this one belongs. */
  readonly placeOf: (pid: number) => Place | undefined;
  /** Takes over a generation that came back, and that neither was started here nor is in the journal. */
  readonly unknown: (pid: number, generation: number) => Place;
  readonly held: HeldListeners;
  /** A generation has come, and has been told what it inherits. @param wasThere whether it was there before this supervisor knew it. */
  readonly joined: (generation: GenerationProcess, wasThere: boolean) => void;
  /** An operator has come: answers what it asks. */
  readonly serve: (channel: Channel) => void;
  /** Another supervisor has come: lets it take over. */
  readonly cede: (channel: Channel) => void;
}

type OnCameBack = (foreign: GenerationProcess, how: NonNullable<Message<'hello'>['rejoin']>) => void;

/** Receives who comes to the supervisor's door: generations that were started, those that come back, and operators. */
export class ConnectionRouter {
  readonly #parts: ConnectionRouterParts;
  readonly #doors = new Map<string, Door>();
  #onCameBack: OnCameBack = () => {};

  constructor(parts: ConnectionRouterParts) {
    this.#parts = parts;
  }

  /** Whom to tell when the generation of another supervisor has come, because that one is gone. */
  onCameBack(handler: OnCameBack): void {
    this.#onCameBack = handler;
  }

  /** Opens a door at this path. @throws MOULT_SYSTEM_CALL when it cannot be bound. */
  open(path: string): void {
    this.#doors.set(
      path,
      Door.open(path, 'supervisor', (channel, hello) => this.#visit(channel, hello)),
    );
  }

  /** Opens the door at this path by the descriptor that the program before an exec kept. */
  inherit(path: string, fd: number): void {
    this.#doors.set(
      path,
      Door.inherited(fd, path, 'supervisor', (channel, hello) => this.#visit(channel, hello)),
    );
  }

  /** Lets nobody in at this path until the next exec: who comes waits there. @returns the descriptor of the socket. */
  keepOverExec(path: string): number | undefined {
    return this.#doors.get(path)?.keepOverExec();
  }

  /** The exec failed: lets in who waits. */
  resume(path: string, fd: number): void {
    this.#doors.get(path)?.resume(fd);
  }

  /**
   * Opens the door at this path again where the path does not lead to it any more.
   * @returns whether it did not.
   * @throws MOULT_SYSTEM_CALL when it cannot be bound.
   */
  mend(path: string): boolean {
    return this.#doors.get(path)?.mend() ?? false;
  }

  /**
   * Goes to a generation that may not be able to come here: one that has given up its privileges cannot enter the folder
   * any more, but its own socket was made before.
   */
  async call({ path, generation }: LeftDoor): Promise<void> {
    const opening = await openWhenGreeted(path, () => ({ role: 'supervisor', generation }));
    const channel = opening?.toChannel();
    channel?.on('refused', () => channel.close());
    channel?.on('hello', (hello) => {
      channel.off('hello');
      try {
        this.#join(channel, hello);
      } catch {
        // It has come here by itself meanwhile.
        channel.close();
      }
    });
  }

  /** Lets nobody in any more at this path, or at any. */
  close(only?: string): void {
    for (const [path, door] of this.#doors) if (only === undefined || path === only) door.close();
  }

  #visit(channel: Channel, hello: Message<'hello'>): void {
    if (hello.role === 'operator') this.#parts.serve(channel);
    else if (hello.role === 'generation') this.#join(channel, hello);
    else if (hello.role === 'member') this.#leadToMembers(channel, hello);
    else if (hello.role === 'supervisor') this.#parts.cede(channel);
    else {
      throw new MoultError(
        'MOULT_NOT_EXPECTED',
        'expected a generation or an operator, met a successor: it must ask the predecessor',
      );
    }
  }

  #join(channel: Channel, hello: Message<'hello'>): void {
    const { slot, generation } = this.#whose(channel, hello);
    const isAwaited =
      generation !== undefined && isFree(generation, hello) && !this.#isOfAnother(channel, hello);
    if (slot === undefined || generation === undefined || !isAwaited) throw notExpected(hello);
    generation.takesMembers = hello.members === true;
    generation.sharesBroadcasts = hello.shares === true;
    generation.hearsStopping = hello.hearsStopping === true;
    generation.takesOutput = hello.takesOutput === true && hello.withoutDescriptors !== true;
    generation.takesDoor = hello.takesDoor === true && hello.withoutDescriptors !== true;
    generation.isAddonless = hello.withoutDescriptors === true;
    slot.generations.met(generation);
    generation.attach(channel);
    if (generation.isAddonless) generation.looks = true;
    slot.listen(generation, channel);
    const isGivenTo = hello.rejoin === undefined && !generation.isForced;
    const predecessor = isGivenTo ? generation.livingPredecessor : undefined;
    const welcome = {
      type: 'welcome',
      generation: generation.number,
      predecessor: predecessor?.door ?? null,
      settings: generation.settings,
    } as const;
    // Our own output, for the time when it no longer comes through us; and where we read it until then.
    const ends = hello.rejoin === undefined ? (generation.tree.outputEnds?.() ?? []) : [];
    if (generation.isAddonless) channel.send(welcome);
    else channel.send(welcome, [1, 2, ...(ends.every((fd) => fd >= 0) ? ends : [])]);
    if (hello.rejoin !== undefined && !generation.isOurs) this.#onCameBack(generation, hello.rejoin);
    else if (hello.rejoin !== undefined) slot.adoption.rejoin(generation, hello.rejoin);
    else {
      const isGiven = !generation.isAddonless && predecessor?.door === undefined;
      if (isGiven) this.#bequeath(channel, slot.generations.epoch);
      const facts = { pid: channel.peer.pid, node: hello.node, entry: hello.entry };
      slot.restarts.handoverTo(generation)?.stage('hello', facts);
    }
    this.#parts.joined(generation, hello.rejoin !== undefined);
  }

  // Another process of a generation that is there: what it listens on changes hands with the rest.
  #leadToMembers(channel: Channel, { generation: number = 0 }: Message<'hello'>): void {
    const generation = this.#parts.slotOf(number)?.generations.numbered(number);
    const answer = (path: string | null) => {
      channel.send({ type: 'members-door', path });
      channel.close();
    };
    if (generation === undefined || generation.isEnding || !generation.isReachable) answer(null);
    else
      generation.membersDoor(MEMBERS_TIMEOUT_MS).then(answer, () => {
        answer(null);
      });
  }

  // A wrapper asks as soon as a supervisor is there, and the service that it started may not have come back yet.
  #isOfAnother({ peer }: Channel, { generation = 0, rejoin }: Message<'hello'>): boolean {
    if (rejoin !== undefined || peer.pid === 0) return false;
    return [...this.#doors.keys()].some((door) => isServiceOfDoor(dirname(door), generation, peer.pid));
  }

  // One that comes back is known by its process: where lines of the journal were lost another may have its number.
  #whose({ peer }: Channel, { generation: number = 0, rejoin }: Message<'hello'>): Place {
    const byNumber = this.#parts.slotOf(number);
    const named = { slot: byNumber, generation: byNumber?.generations.numbered(number) };
    if (rejoin === undefined || peer.pid === 0) return named;
    const known = this.#parts.placeOf(peer.pid);
    if (known !== undefined) return known;
    const isAnother = named.generation?.isOurs && isOfTree(peer.pid, named.generation.pid) === false;
    return named.generation !== undefined && !isAnother ? named : this.#parts.unknown(peer.pid, number);
  }

  // Without a predecessor the listeners come from us.
  #bequeath(channel: Channel, epoch: number): void {
    const { items, descriptors } = this.#parts.held.describe();
    channel.send({ type: 'inherit', epoch, listeners: items, hearsMissing: true }, descriptors);
  }
}

function isFree(generation: GenerationProcess, { rejoin }: Message<'hello'>): boolean {
  // A wrapper starts its service again: it could not have the listeners, and the next generation starts at once.
  if (generation.isOurs && generation.hasLostService && rejoin === undefined) generation.kill();
  const isTaken = generation.lifeline !== undefined && (rejoin === undefined || generation.isReachable);
  return !isTaken && !generation.isEnding;
}

function notExpected({ generation }: Message<'hello'>): MoultError {
  const what = `generation ${generation ?? '?'} already has its process, or was never started`;
  return new MoultError('MOULT_NOT_EXPECTED', what);
}
