import type { UnseenNote } from '../../lifecycle/listener-names.js';
import type { Release } from './release.js';

/** The releases that have proved themselves, so that a crash or a rollback comes back to exactly them. */
export class ReleaseHistory {
  #good: Release[] = [];
  readonly #listeners = new WeakMap<Release, readonly string[]>();
  readonly #unseen = new WeakMap<Release, UnseenNote>();

  /** A release was confirmed. One that was there before, as after a rollback, ends those that came after it. */
  proved(release: Release): void {
    const at = this.#good.indexOf(release);
    if (at >= 0) this.#good.length = at + 1;
    else this.#good.push(release);
    this.#good = this.#good.slice(-10);
  }

  /** One that has proved itself is started from elsewhere from now on. */
  replace(release: Release, by: Release): void {
    this.#good = this.#good.map((one) => (one === release ? by : one));
    const names = this.#listeners.get(release);
    if (names !== undefined) this.#listeners.set(by, names);
    const unseen = this.#unseen.get(release);
    if (unseen !== undefined) this.#unseen.set(by, unseen);
  }

  /** The one to start again after a crash. */
  lastGood(): Release | undefined {
    return this.#good.at(-1);
  }

  /** On these a release has listened when it served last. */
  listened(release: Release, names: readonly string[]): void {
    this.#listeners.set(release, names);
  }

  /** On what a release listened when it served last; undefined where that is not known. */
  listenersOf(release: Release): readonly string[] | undefined {
    return this.#listeners.get(release);
  }

  /** On these processes of a release listen while it serves, and moult does not see them. */
  noteUnseen(release: Release, unseen: UnseenNote): void {
    this.#unseen.set(release, unseen);
  }

  /** What a rollback to a release, or its start after a crash, is to bring back; undefined where that is not known. */
  unseenOf(release: Release): UnseenNote | undefined {
    return this.#unseen.get(release);
  }

  /** Whether it has proved itself before. */
  isKnown(release: Release): boolean {
    return this.#good.includes(release);
  }

  /** The one to go back to. */
  before(): Release | undefined {
    return this.#good.at(-2);
  }
}
