import { wallClockMs } from '../os/clock.js';
import { RunFolder } from '../supervisor/journal/run-folder.js';
import type { PageMessage, Whole } from './page-messages.js';
import { type ShownFleet, WatchedFleet } from './watched-fleet.js';
import { WatchedService } from './watched-service.js';

const SCAN_MS = 2000;

/** What a dashboard shows: one service, or all of this user that run; and a fleet, where one is given. */
export class WatchedServices {
  readonly #services = new Map<string, WatchedService>();
  readonly #listeners = new Set<(message: PageMessage) => void>();
  readonly #timer: NodeJS.Timeout | undefined;
  readonly #fleet: WatchedFleet | undefined;

  /** @param only the one that is shown; all that run where it is not given. */
  constructor(only?: RunFolder, fleet?: ShownFleet) {
    this.#fleet = fleet && new WatchedFleet(fleet, (message) => this.#tell(message));
    if (only !== undefined) this.#add(only);
    else {
      this.#scan();
      this.#timer = setInterval(() => this.#scanAgain(), SCAN_MS).unref();
    }
  }

  /** All that is known of all of them. */
  whole(): Whole {
    const services = [...this.#services.values()].flatMap(({ history }) => history ?? []);
    const fleet = this.#fleet === undefined ? {} : { fleet: this.#fleet.view };
    return { type: 'whole', now: wallClockMs(), services, ...fleet };
  }

  /** Where one of them is found. */
  folderOf(name: string): RunFolder | undefined {
    return this.#services.get(name)?.folder;
  }

  /** Has this called with what is new. @returns ends that. */
  onMessage(listener: (message: PageMessage) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  close(): void {
    clearInterval(this.#timer);
    this.#fleet?.close();
    for (const service of this.#services.values()) service.close();
    this.#listeners.clear();
  }

  #scanAgain(): void {
    try {
      this.#scan();
    } catch {
      // There is no descriptor to look with just now: the next scan tells.
    }
  }

  #scan(): void {
    const names = RunFolder.running();
    for (const name of names) if (!this.#services.has(name)) this.#add(new RunFolder(name));
    for (const [name, service] of this.#services) {
      // One whose program is just being replaced holds its folder all the while.
      if (names.includes(name) || service.folder.holder() !== undefined) continue;
      service.close();
      this.#services.delete(name);
      this.#tell({ type: 'gone', service: name });
    }
  }

  #add(folder: RunFolder): void {
    this.#services.set(folder.name, new WatchedService(folder, (message) => this.#tell(message)));
  }

  #tell(message: PageMessage): void {
    for (const listener of this.#listeners) listener(message);
  }
}
