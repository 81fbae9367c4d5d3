import type { FleetView, PageMessage } from './page-messages.js';

const LOOK_MS = 2000;

/** A fleet that a dashboard shows, and how it is looked at. */
export interface ShownFleet {
  readonly name: string;
  /** @throws where it cannot be reached at the moment. */
  readonly look: () => Promise<FleetView>;
  /** Lets go of what it was looked at with; after it nobody looks. */
  readonly end: () => Promise<void>;
}

/** Looks at a fleet every two seconds; where it cannot be reached what was known last is shown, and why there is nothing newer. */
export class WatchedFleet {
  readonly #look: () => Promise<FleetView>;
  readonly #tell: (message: PageMessage) => void;
  readonly #everyMs: number;
  #timer: NodeJS.Timeout | undefined;
  #isOver = false;
  #view: FleetView;

  /** @param everyMs how long after one look the next begins. */
  constructor(
    { name, look }: Omit<ShownFleet, 'end'>,
    tell: (message: PageMessage) => void,
    everyMs = LOOK_MS,
  ) {
    this.#everyMs = everyMs;
    this.#look = look;
    this.#tell = tell;
    this.#view = { name, services: [] };
    void this.#again();
  }

  /** What is known of it. */
  get view(): FleetView {
    return this.#view;
  }

  close(): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
  }

  async #again(): Promise<void> {
    try {
      this.#view = await this.#look();
    } catch (error) {
      this.#view = { ...this.#view, silent: error instanceof Error ? error.message : String(error) };
    }
    if (this.#isOver) return;
    this.#tell({ type: 'fleet', fleet: this.#view });
    this.#timer = setTimeout(() => void this.#again(), this.#everyMs).unref();
  }
}
