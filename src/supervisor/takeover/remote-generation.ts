import type { Exit } from '../../os/processes/process.js';
import { isListening } from '../../os/unix-sockets/unix-socket.js';
import type { Settings } from '../../protocol/messages.js';
import { OutputTail } from '../output/output-tail.js';
import { GenerationProcess, type Lifeline } from '../process/generation-process.js';
import type { Release } from '../releases/release.js';

/** How often to check whether one whose supervisor is gone lives. */
const LOOK_MS = 100;

/** How it ended is known to its own supervisor only. */
const ENDED: Exit = { code: null, signal: null };

/**
 * The generation of another supervisor, from which this one takes over. It is spoken to through that
 * supervisor, or by itself where that is gone, but it is never ours to signal: its number may mean nothing here.
 */
export class RemoteGeneration extends GenerationProcess {
  readonly #end: () => void;
  #timer: NodeJS.Timeout | undefined;

  /**
   * @param release what this supervisor would start in its place.
   * @param door the path at which it receives its successor, as it is seen from here.
   */
  constructor(number: number, release: Release, settings: Settings, door: string) {
    let end!: (exit: Exit) => void;
    const exited = new Promise<Exit>((resolve) => {
      end = resolve;
    });
    super(number, release, settings, { pid: -1, exited, output: new OutputTail() });
    this.door = door;
    this.hasServed();
    this.#end = () => {
      clearInterval(this.#timer);
      end(ENDED);
    };
  }

  override get isOurs(): boolean {
    return false;
  }

  /** 0: what this process would reach by its number could be another one. */
  override get servicePid(): number {
    return 0;
  }

  override attach(lifeline: Lifeline): void {
    const { door } = this;
    super.attach(lifeline);
    // It tells its path as it sees it itself.
    lifeline.on('door', () => {});
    this.door = door;
  }

  override signalService(): void {}

  override kill(): void {}

  /** Whether it can be reached by a successor, so lives. */
  get isAlive(): boolean {
    return this.exit === undefined && this.door !== undefined && isListening(this.door);
  }

  /** Its supervisor says that it has ended. */
  hasEnded(): void {
    this.lifeline = undefined;
    this.#end();
  }

  /** Its supervisor is gone: from now on its own socket tells whether it lives. */
  watch(): void {
    this.#timer ??= setInterval(() => {
      try {
        if (!this.isAlive) this.hasEnded();
      } catch {
        // That cannot be seen just now, with no descriptor left: the next look tells.
      }
    }, LOOK_MS);
    this.#timer.unref();
  }
}
