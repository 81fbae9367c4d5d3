import type { Channel } from '../channel/channel.js';
import { MoultError } from '../errors.js';
import { MAX_PIECES } from '../protocol/limits.js';
import type { EntryLink, HoldProcess, StateEntry, Want } from './state-entry.js';

/** The longest name of a piece. */
const MAX_PIECE_NAME = 256;

/** The pieces of state of one generation, by their names. */
export class StateEntries {
  #pieces = new Map<string, StateEntry>();
  #declared = 0;
  readonly #hold: HoldProcess;
  /** By channel: the other sides with which pieces are exchanged. */
  #links = new WeakMap<Channel, Map<StateEntry, EntryLink>>();
  /** What says to other sides what has been taken from them. */
  #sayRead = new WeakMap<Channel, () => void>();

  /** @param hold holds processes that other generations tell of; without it none is. */
  constructor(hold: HoldProcess = () => undefined) {
    this.#hold = hold;
  }

  /** @throws MOULT_BAD_OPTION for a name that is taken or cannot be used. */
  declare(piece: StateEntry): void {
    const { name } = piece;
    if (name.length === 0 || name.length > MAX_PIECE_NAME) {
      const what = `expected a name of 1 to ${MAX_PIECE_NAME} characters, received ${name.length}`;
      throw new MoultError('MOULT_BAD_OPTION', `state: ${what}`);
    }
    if (this.#pieces.has(name))
      throw new MoultError('MOULT_BAD_OPTION', `state: ${name} is already declared`);
    if (!piece.isOfTask && this.#declared === MAX_PIECES)
      throw new MoultError('MOULT_BAD_OPTION', `state: expected at most ${MAX_PIECES} pieces`);
    if (!piece.isOfTask) this.#declared += 1;
    this.#pieces.set(name, piece);
  }

  get size(): number {
    return this.#pieces.size;
  }

  get(name: string): StateEntry | undefined {
    return this.#pieces.get(name);
  }

  all(): StateEntry[] {
    return [...this.#pieces.values()];
  }

  /** What is lost where this generation ends without a successor: all values, and all maps that have entries. */
  declared(): { readonly name: string; readonly entries?: number }[] {
    return this.all()
      .filter(({ isOfTask, size }) => !isOfTask && size !== 0)
      .slice(0, MAX_PIECES)
      .map(({ name, size }) => ({ name, ...(size === undefined ? {} : { entries: size }) }));
  }

  /** The timers and jobs, and how many there are of each name: another slot takes them that has some of the same name. */
  passable(): { readonly name: string; readonly kind: 'timers' | 'jobs'; readonly entries: number }[] {
    return this.all()
      .flatMap(({ task, size = 0 }) => (task === undefined ? [] : { ...task, entries: size }))
      .slice(0, MAX_PIECES);
  }

  /** A piece as the other side of this channel has it. */
  link(piece: StateEntry, channel: Channel): EntryLink {
    const links = this.#links.get(channel) ?? new Map<StateEntry, EntryLink>();
    this.#links.set(channel, links);
    const link = links.get(piece) ?? piece.link(channel.peer.pid, this.#hold);
    links.set(piece, link);
    return link;
  }

  /** What this generation can take: of all pieces, or of those of tasks only. */
  wants(which: 'all' | 'of tasks' = 'all'): Want[] {
    const ofTasks = this.all().filter(({ isOfTask }) => isOfTask);
    const declared = which === 'all' ? this.all().filter(({ isOfTask }) => !isOfTask) : [];
    // Without room in the message a task gives what it has when it ends.
    return [...declared, ...ofTasks].slice(0, MAX_PIECES).map((piece) => ({
      name: piece.name,
      min: piece.oldestVersion,
      max: piece.version,
      ...(piece.wantsLate ? { late: true } : {}),
    }));
  }

  /** What comes from the other side of this channel is said to be read by this, at the latest before anything is given there. */
  takenBy(channel: Channel, sayRead: () => void): void {
    this.#sayRead.set(channel, sayRead);
  }

  /** Says to the other side of this channel what has been taken from it. */
  sayRead(channel: Channel): void {
    this.#sayRead.get(channel)?.();
  }

  /** Notes what changes from now on, for the other side of this channel, which may have to serve again. */
  note(channel: Channel): void {
    for (const piece of this.all()) this.link(piece, channel).note();
  }

  /** Notes nothing more for the other side of this channel. */
  forget(channel: Channel): void {
    for (const link of this.#links.get(channel)?.values() ?? []) link.forget();
  }
}
