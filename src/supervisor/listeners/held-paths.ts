import {
  isSameAccess,
  realPlace,
  type SocketAccess,
  setSocketAccess,
  socketAccess,
} from '../../os/unix-sockets/socket-file.js';
import { type PathOutcome, SocketLinks } from '../../os/unix-sockets/socket-links.js';
import type { ListenerItem } from '../../protocol/messages.js';
import { WatchedPaths } from './watched-paths.js';

/** How often paths are looked at where the kernel does not tell of a change, such as after a folder was made anew. */
const LOOK_MS = 500;
/** Stands for whoever had a listener before this supervisor. */
const UNKNOWN = -1;

interface HeldPath {
  readonly file: string;
  /** Where it is to be found, by the number of each generation that asked for it there. */
  readonly paths: Map<number, string>;
  /** Every place at which it was found: a link on the way there may lead elsewhere by now. */
  readonly places: Set<string>;
  /** Whether it is removed when nobody has the listener any more. */
  readonly isOurs: boolean;
  /** Who may connect as the serving release has set it, while a successor is on its way or in probation. */
  served?: SocketAccess | undefined;
  /** What the successor has set meanwhile. */
  wanted?: SocketAccess | undefined;
}

/** A path that does not lead to its listener. */
export interface LostPath {
  readonly name: string;
  readonly path: string;
  readonly outcome: Extract<PathOutcome, 'taken' | 'lost'>;
  /** Milliseconds since 1970 when that was seen first. */
  readonly since: number;
}

/**
 * Keeps the paths of Unix listeners leading to their sockets, with the mode and the owner that the serving release has
 * set: whatever a successor, its shell scripts, or a cleaner of temporary files removes is put back.
 */
export class HeldPaths {
  readonly #links: SocketLinks;
  readonly #held = new Map<string, HeldPath>();
  readonly #lost = new Map<string, LostPath>();
  readonly #watched = new WatchedPaths((name) => this.#lookQuickly(name));
  #timer: NodeJS.Timeout | undefined;
  #isGuarding = false;
  #areLooksOver = false;

  /** @param folder the private folder of the service. */
  constructor(folder: string) {
    this.#links = new SocketLinks(folder);
  }

  /** A generation has this listener. @param by its number; none where it is not known. */
  hold({ name, family, path, file }: ListenerItem, by = UNKNOWN): void {
    if (family !== 'unix' || path === null) return;
    const known = this.#held.get(name);
    const named = file ?? this.#links.keep(path);
    if (named === undefined) return;
    this.#links.keep(path);
    const isSame = known?.file === named;
    const held = isSame ? known : { file: named, paths: new Map(), places: new Set<string>(), isOurs: true };
    if (known !== undefined && !isSame) this.#links.forget(known.file);
    held.paths.delete(UNKNOWN);
    // The last one is the newest.
    held.paths.delete(by);
    held.paths.set(by, path);
    note(held, path);
    this.#held.set(name, held);
    this.#follow(name);
  }

  /** Keeps the path of a listener that stays as long as this supervisor. @returns what names its file. */
  keep(name: string, path: string): string | undefined {
    const file = this.#links.keep(path);
    if (file === undefined) return undefined;
    this.#held.set(name, { file, paths: new Map([[UNKNOWN, path]]), places: new Set(), isOurs: false });
    this.#follow(name);
    return file;
  }

  /** Where a generation has it; where it does not say, or none is given, where it was asked for last. */
  pathOf(name: string, generation?: number): string | undefined {
    const paths = this.#held.get(name)?.paths;
    return paths?.get(generation ?? UNKNOWN) ?? newestOf(paths);
  }

  /** This generation has it no more: where it alone had asked for it, it is not to be found any more. */
  letGo(generation: number): void {
    for (const [name, held] of this.#held) {
      const path = held.paths.get(generation);
      if (path === undefined || held.paths.size < 2) continue;
      held.paths.delete(generation);
      const places = [...held.paths.values()].map(realPlace);
      if (held.isOurs && !places.includes(realPlace(path))) this.#links.remove(path, held.file);
      this.#follow(name);
    }
  }

  /** Nobody has this listener any more. */
  drop(name: string): void {
    const held = this.#held.get(name);
    if (held === undefined) return;
    this.#held.delete(name);
    this.#lost.delete(name);
    if (held.isOurs) for (const path of held.places) this.#links.remove(path, held.file);
    this.#links.forget(held.file);
    this.#follow(name);
  }

  /** A successor is on its way: until it serves, who may connect stays as it is. */
  guard(): void {
    this.#isGuarding = true;
    for (const held of this.#held.values()) {
      held.served = accessOf(held);
      held.wanted = undefined;
    }
  }

  /** The successor serves, and with it what it has set. */
  served(): void {
    this.#isGuarding = false;
    for (const held of this.#held.values()) if (held.wanted !== undefined) give(held, held.wanted);
  }

  /** The generation before it serves, as it did. */
  servesAgain(): void {
    this.#isGuarding = false;
    this.look();
    for (const held of this.#held.values()) if (held.served !== undefined) give(held, held.served);
  }

  /** Puts back what is missing, now. @returns what could not be. */
  look(): LostPath[] {
    if (this.#areLooksOver) return [];
    for (const [name, held] of this.#held) this.#lookAt(name, held, [...held.paths.values()]);
    this.#watched.renew();
    return [...this.#lost.values()];
  }

  /** Whoever has them ends, and may remove their paths: looks no more. */
  endLooks(): void {
    this.#areLooksOver = true;
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#watched.close();
  }

  /** Another supervisor has them, or a service manager: looks no more, and leaves everything in its place. */
  close(): void {
    this.endLooks();
    this.#held.clear();
    this.#lost.clear();
  }

  #lookAgain(): void {
    try {
      this.look();
    } catch {
      // It cannot be seen just now: the next look tells.
    }
  }

  // Where an older release had it may just be removed with all of that release, which must not be hindered at once.
  #lookQuickly(name: string): void {
    const held = this.#held.get(name);
    if (held === undefined) return;
    try {
      this.#lookAt(name, held, [...held.paths.values()].slice(-1));
    } catch {
      // As in the next look.
    }
  }

  #lookAt(name: string, held: HeldPath, paths: readonly string[]): void {
    let lost: LostPath | undefined;
    for (const path of paths) {
      const outcome = this.#links.restore(path, held.file);
      if (outcome === 'restored') note(held, path);
      // The run folder may have been made anew, and with it the second name.
      if (outcome === 'there' && !this.#links.isKept(held.file)) this.#links.keep(path);
      if (outcome === 'taken' || outcome === 'lost')
        lost = { name, path, outcome, since: this.#lost.get(name)?.since ?? Date.now() };
    }
    // The newest has asked for it last: where it was before may have gone with an older release.
    if (lost === undefined || lost.path !== newestOf(held.paths)) this.#lost.delete(name);
    else this.#lost.set(name, lost);
    if (!this.#isGuarding || held.served === undefined) return;
    const now = accessOf(held);
    if (now === undefined || isSameAccess(now, held.served)) return;
    held.wanted = now;
    give(held, held.served);
  }

  #follow(name: string): void {
    if (this.#areLooksOver) return;
    this.#watched.set(name, [...(this.#held.get(name)?.paths.values() ?? [])]);
    if (this.#held.size > 0) this.#timer ??= setInterval(() => this.#lookAgain(), LOOK_MS).unref();
    else {
      clearInterval(this.#timer);
      this.#timer = undefined;
    }
  }
}

function newestOf(paths: HeldPath['paths'] | undefined): string | undefined {
  return [...(paths?.values() ?? [])].at(-1);
}

function note({ places }: HeldPath, path: string): void {
  const place = realPlace(path);
  if (place !== undefined) places.add(place);
}

function accessOf({ paths }: HeldPath): SocketAccess | undefined {
  for (const path of paths.values()) {
    const access = socketAccess(path);
    if (access !== undefined) return access;
  }
  return undefined;
}

function give({ paths }: HeldPath, access: SocketAccess): void {
  for (const path of paths.values()) {
    try {
      setSocketAccess(path, access);
    } catch {
      // It is another user's.
    }
  }
}
