import type { Channel } from '../channel/channel.js';
import { Opening } from '../channel/open.js';
import { MoultError } from '../errors.js';
import { closeDescriptor } from '../os/descriptors/descriptor.js';
import { trustUids } from '../os/unix-sockets/peer.js';
import type { ListenerItem, Settings } from '../protocol/messages.js';
import { DirectOutput } from './overseer/direct-output.js';
import type { Overseer } from './overseer/overseer.js';
import { openLifeline, SupervisorLink } from './overseer/supervisor-link.js';

/** How long the opening of both channels may take. */
const OPENING_TIMEOUT_MS = 15_000;

/** What a generation inherits; the descriptors are in the order of the listeners, and belong to the generation. */
export interface Inheritance {
  /** The number that a stranger is given. */
  readonly generation?: number | undefined;
  readonly epoch: number;
  readonly listeners: readonly ListenerItem[];
  readonly descriptors: readonly number[];
  /** Whether the predecessor can be asked for state and tasks. */
  readonly keeps?: boolean | undefined;
  /** Whether it shares broadcasts. */
  readonly broadcasts?: boolean | undefined;
  /** Where the predecessor lets in whoever takes over from this generation. */
  readonly door?: string | undefined;
  /** Where those do that still tell the predecessor what changes there. */
  readonly earlier?: readonly string[] | undefined;
  /** Whether whoever gave it wants to hear what this generation is not ready for want of. */
  readonly hearsMissing?: boolean | undefined;
}

/** With what a generation begins. */
export interface Beginning {
  readonly number: number;
  readonly settings: Settings;
  readonly overseer: Overseer;
  readonly inheritance: Inheritance;
  /** The channel to the predecessor, where there is one. */
  readonly giver: Channel | undefined;
}

/*
 * All of it is synchronous, because the service is in the middle of its first listen().
 */

/**
 * Joins the supervisor that started this process, and inherits what the predecessor has.
 * @param isStarted whether this is the very process that the supervisor started.
 * @returns null when another process of the tree is the service already, or no supervisor is there.
 * @throws whatever the other side refused with; MOULT_PEER_CLOSED when the supervisor that started this process is not there.
 */
export function joinSupervisor(path: string, number: number, isStarted: boolean): Beginning | null {
  const lifeline = openLifeline(path, number, OPENING_TIMEOUT_MS, isStarted);
  if (lifeline === null) return null;
  let giver: Opening | undefined;
  try {
    const { message: welcome, incoming } = lifeline.hear('welcome');
    const output = new DirectOutput(incoming.take());
    trustUids(welcome.settings.allowUids ?? []);
    if (welcome.predecessor !== null) giver = openDoor(welcome.predecessor, number);
    const inheritance = inherit(giver ?? lifeline);
    const { settings } = welcome;
    const overseer = new SupervisorLink(path, lifeline.toChannel(), output, number, settings);
    return { number, settings, overseer, inheritance, giver: giver?.toChannel() };
  } catch (error) {
    giver?.abandon();
    lifeline.abandon();
    if (error instanceof MoultError && error.code === 'MOULT_NOT_EXPECTED') return null;
    throw error;
  }
}

/**
 * Begins without a supervisor: inherits from the predecessor behind this door.
 * @param number of this generation; none for a stranger, which is given one.
 * @throws MOULT_SYSTEM_CALL when nobody is there; whatever the predecessor refused with.
 */
export function succeed(door: string, number?: number): Pick<Beginning, 'inheritance' | 'giver'> {
  const giver = openDoor(door, number);
  try {
    return { inheritance: inherit(giver), giver: giver.toChannel() };
  } catch (error) {
    giver.abandon();
    throw error;
  }
}

function openDoor(path: string, generation?: number): Opening {
  const numbered = generation === undefined ? {} : { generation };
  return new Opening(path, { role: 'successor', takesLate: true, ...numbered }, OPENING_TIMEOUT_MS);
}

/** Hears what there is to inherit. @throws MOULT_DESCRIPTORS when this process may open no more. */
export function inherit(from: Opening): Inheritance {
  const { message, incoming } = from.hear('inherit');
  const descriptors = incoming.take();
  if (descriptors.length >= message.listeners.length) return { ...message, descriptors };
  for (const fd of descriptors) closeDescriptor(fd);
  throw new MoultError(
    'MOULT_DESCRIPTORS',
    `expected ${message.listeners.length} listeners, this process could open only ${descriptors.length}`,
  );
}
