import { wallClockMs } from '../os/clock.js';
import type { RunFolder } from '../supervisor/journal/run-folder.js';
import type { ServiceStatus } from '../supervisor/status.js';
import type { Fact, PageMessage, Sample, ServiceHistory, ServiceView } from './page-messages.js';
import { Sampler } from './samples.js';
import { SupervisorChannel } from './supervisor-channel.js';

const LOOK_MS = 1000;
/** In a restart something changes all the time. */
const LOOK_SOON_MS = 200;
const AGAIN_MS = 500;
/** Ten minutes of two generations, or a minute of twenty. */
const MAX_SAMPLES = 1200;
const MAX_FACTS = 600;
const MAX_RESTARTS = 100;

/** What of the journal a page shows. */
const SHOWN = [
  'stage',
  'start',
  'serving',
  'restart',
  'confirmed',
  'undone',
  'crashed',
  'revived',
  'drained',
  'exited',
  'scale',
];

/**
 * One service as the dashboard sees it: looks at it again and again, hears what happens, and remembers enough for a page that
 * comes later. It outlives the supervisor's upgrade and the restart of what it shows.
 */
export class WatchedService {
  readonly folder: RunFolder;
  readonly #tell: (message: PageMessage) => void;
  readonly #sampler = new Sampler();
  #view: ServiceView | undefined;
  #samples: Sample[] = [];
  #facts: Fact[] = [];
  #restarts: readonly Fact[] = [];
  #isHistoryOld = true;
  #isClosed = false;
  #channel: SupervisorChannel | undefined;
  #wake: () => void = () => {};

  /** @param tell is called with what a page is to know. */
  constructor(folder: RunFolder, tell: (message: PageMessage) => void) {
    this.folder = folder;
    this.#tell = tell;
    void this.#watch();
  }

  /** All that is known; undefined before the first look. */
  get history(): ServiceHistory | undefined {
    if (this.#view === undefined) return undefined;
    return { view: this.#view, samples: this.#samples, facts: this.#facts, restarts: this.#restarts };
  }

  close(): void {
    this.#isClosed = true;
    this.#channel?.close();
    this.#wake();
  }

  async #watch(): Promise<void> {
    while (!this.#isClosed) {
      try {
        const channel = await SupervisorChannel.open(this.folder, (event) => this.#heard(event));
        this.#channel = channel;
        await channel.ask({ type: 'watch' });
        this.#isHistoryOld = true;
        while (!this.#isClosed) await this.#look(channel);
      } catch (error) {
        this.#isSilent(error instanceof Error ? error.message : String(error));
      }
      this.#channel?.close();
      await this.#pause(AGAIN_MS);
    }
  }

  async #look(channel: SupervisorChannel): Promise<void> {
    if (this.#isHistoryOld) {
      this.#isHistoryOld = false;
      const { restarts } = await channel.ask({ type: 'history' });
      this.#restarts = (restarts as Fact[]).slice(-MAX_RESTARTS);
      this.#tell({ type: 'history', service: this.folder.name, restarts: this.#restarts });
    }
    const status = (await channel.ask({ type: 'status', measure: true })) as unknown as ServiceStatus;
    const now = wallClockMs();
    const samples = this.#sampler.take(status.generations, now);
    this.#samples = [...this.#samples, ...samples].slice(-MAX_SAMPLES);
    this.#view = viewOf(status);
    this.#tell({ type: 'look', now, view: this.#view, samples });
    await this.#pause(status.state === 'serving' ? LOOK_MS : LOOK_SOON_MS);
  }

  #heard(event: Record<string, unknown>): void {
    const { type, ...fact } = event;
    if (type !== 'fact' || !SHOWN.includes(String(fact.event))) return;
    const known = fact as unknown as Fact;
    // What failed last is told again to who comes again.
    if (
      this.#facts.some(
        ({ at, event: name, generation }) =>
          at === known.at && name === known.event && generation === known.generation && name !== 'stage',
      )
    )
      return;
    this.#facts = [...this.#facts, known].slice(-MAX_FACTS);
    this.#isHistoryOld ||= known.event !== 'stage';
    this.#tell({ type: 'fact', service: this.folder.name, fact: known });
    this.#wake();
  }

  // What it showed last stays, with the word that nothing newer is known.
  #isSilent(why: string): void {
    if (this.#view === undefined || this.#isClosed) return;
    this.#view = { ...this.#view, silent: why };
    this.#tell({ type: 'look', now: wallClockMs(), view: this.#view, samples: [] });
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms).unref();
      this.#wake = () => {
        clearTimeout(timer);
        // Of many facts in a row each needs no look of its own.
        setTimeout(resolve, Math.min(ms, LOOK_SOON_MS)).unref();
      };
    });
  }
}

function viewOf(status: ServiceStatus): ServiceView {
  const { name, state, command, pid, version, startedAt, restarts, crashes, slots } = status;
  const generations = status.generations.map(({ measures, listeners, moves, entry, ...rest }) => rest);
  return {
    name,
    state,
    command,
    pid,
    version,
    startedAt,
    restarts,
    crashes,
    ...(slots && { slots }),
    generations,
  };
}
