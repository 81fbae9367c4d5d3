import type { Channel } from '../channel/channel.js';
import { Door } from '../channel/door.js';
import { MoultError } from '../errors.js';
import type { Message } from '../protocol/messages.js';
import type { Adoption } from './adoption.js';
import type { GenerationProcess } from './generation-process.js';
import type { Generations } from './generations.js';
import type { HeldListeners } from './held-listeners.js';
import type { Restarts } from './restarts.js';

/** What a generation is led to: the slot to which it belongs. */
export interface ReceivingSlot {
  readonly generations: Generations;
  readonly restarts: Restarts;
  readonly adoption: Adoption;
  /** A generation has come: listens to what it says. */
  readonly listen: (generation: GenerationProcess, channel: Channel) => void;
}

/** What visitors are given, and led to. */
export interface ReceptionParts {
  /** The slot with the generation of this number, while that lives. */
  readonly slotOf: (generation: number) => ReceivingSlot | undefined;
  readonly held: HeldListeners;
  /** A generation has come, and has been told what it inherits. @param wasThere whether it was there before this supervisor knew it. */
  readonly joined: (generation: GenerationProcess, wasThere: boolean) => void;
  /** An operator has come: answers what it asks. */
  readonly serve: (channel: Channel) => void;
  /** Another supervisor has come: lets it take over. */
  readonly cede: (channel: Channel) => void;
  /** The generation of another supervisor has come, because that one is gone. */
  readonly cameBack: (foreign: GenerationProcess, how: NonNullable<Message<'hello'>['rejoin']>) => void;
}

/** Receives who comes to the supervisor's door: generations that were started, those that come back, and operators. */
export class Reception {
  readonly #parts: ReceptionParts;
  readonly #doors = new Map<string, Door>();

  constructor(parts: ReceptionParts) {
    this.#parts = parts;
  }

  /** Opens a door at this path. @throws MOULT_SYSTEM_CALL when it cannot be bound. */
  async open(path: string): Promise<void> {
    const door = await Door.open(path, 'supervisor', (channel, hello) => this.#visit(channel, hello));
    this.#doors.set(path, door);
  }

  /** Lets nobody in any more at this path, or at any. */
  close(only?: string): void {
    for (const [path, door] of this.#doors) if (only === undefined || path === only) door.close();
  }

  #visit(channel: Channel, hello: Message<'hello'>): void {
    if (hello.role === 'operator') this.#parts.serve(channel);
    else if (hello.role === 'generation') this.#join(channel, hello);
    else if (hello.role === 'supervisor') this.#parts.cede(channel);
    else {
      throw new MoultError(
        'MOULT_NOT_EXPECTED',
        'expected a generation or an operator, met a successor: it must ask the predecessor',
      );
    }
  }

  #join(channel: Channel, hello: Message<'hello'>): void {
    const slot = this.#parts.slotOf(hello.generation ?? 0);
    const generation = this.#awaited(hello, slot);
    if (slot === undefined || generation === undefined) throw notExpected(hello);
    generation.attach(channel);
    slot.listen(generation, channel);
    const isGivenTo = hello.rejoin === undefined && !generation.isForced;
    const predecessor = isGivenTo ? generation.livingPredecessor : undefined;
    const welcome = {
      type: 'welcome',
      generation: generation.number,
      predecessor: predecessor?.door ?? null,
      settings: generation.settings,
    } as const;
    // Our own output, for the time when it no longer comes through us.
    channel.send(welcome, [1, 2]);
    if (hello.rejoin !== undefined && !generation.isOurs) this.#parts.cameBack(generation, hello.rejoin);
    else if (hello.rejoin !== undefined) slot.adoption.rejoin(generation, hello.rejoin);
    else {
      if (predecessor?.door === undefined) this.#bequeath(channel, slot.generations.epoch);
      const facts = { pid: channel.peer.pid, node: hello.node, entry: hello.entry };
      slot.restarts.handoverTo(generation)?.stage('hello', facts);
    }
    this.#parts.joined(generation, hello.rejoin !== undefined);
  }

  #awaited(
    { generation: number, rejoin }: Message<'hello'>,
    slot: ReceivingSlot | undefined,
  ): GenerationProcess | undefined {
    const generation = slot?.generations.numbered(number ?? 0);
    const isTaken = generation?.lifeline !== undefined && (rejoin === undefined || generation.isReachable);
    return isTaken || generation?.isEnding ? undefined : generation;
  }

  // Without a predecessor the listeners come from us.
  #bequeath(channel: Channel, epoch: number): void {
    const { items, descriptors } = this.#parts.held.describe();
    channel.send({ type: 'inherit', epoch, listeners: items }, descriptors);
  }
}

function notExpected({ generation }: Message<'hello'>): MoultError {
  const what = `generation ${generation ?? '?'} has its process already, or was never started`;
  return new MoultError('MOULT_NOT_EXPECTED', what);
}
