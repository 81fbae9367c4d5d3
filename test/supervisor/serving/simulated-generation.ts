import { MoultError } from '#moult/errors.js';
import { type HandoverEvent, type HandoverState, next, step } from '#moult/lifecycle/handover-states.js';
import type { Exit } from '#moult/os/processes/process.js';
import type { Message, Settings } from '#moult/protocol/messages.js';
import { OutputTail } from '#moult/supervisor/output/output-tail.js';
import { GenerationProcess, type Lifeline } from '#moult/supervisor/process/generation-process.js';
import type { Release } from '#moult/supervisor/releases/release.js';
import { End } from '../../support/end.js';

const BEFORE_COMMIT: readonly HandoverState[] = ['expecting', 'inheriting', 'ready'];
const ON_PROBATION: readonly HandoverState[] = ['probation', 'verifying'];

type Said = { type: string } & Record<string, unknown>;

/**
 * The process of a service as its supervisor and its neighbours meet it: it runs the table of a predecessor, and says what a
 * service says. It does nothing by itself: a model has it take a message, notice something, or go on.
 */
export class SimulatedService {
  readonly number: number;
  ours!: End;
  theirs!: End;
  /** How it ended; it is the supervisor's to hear of that later. */
  readonly exited: Promise<Exit>;
  isAlive = true;
  accepts = false;
  /** Whether it has said hello to a supervisor. */
  hasMet = false;
  state: HandoverState = 'serving';
  /** Whether it has told its predecessor, or its supervisor, that it is ready. */
  isReady = false;
  expected: number | undefined;
  /** Whether its operator has decided for it: it is about to be replaced itself. */
  hasDecided = false;
  successor: SimulatedService | undefined;
  /** The one that it took over from, while that can take the service back. */
  predecessor: SimulatedService | undefined;
  #isRetiring = false;
  /** Whether connections move to its successor; what became of them has not been told. */
  #isMoving = false;
  #isForeign = false;
  #isHeard = true;
  #ended: Exit | undefined;
  #hear!: (exit: Exit) => void;

  constructor(number: number) {
    this.number = number;
    this.exited = new Promise((resolve) => {
      this.#hear = resolve;
    });
    this.#open();
  }

  #open(): void {
    // No process can have such a number.
    [this.ours, this.theirs] = End.pair(2 ** 30, 2 ** 30 + this.number);
    for (const type of ['direct-output', 'stopping', 'withdraw', 'inherit', 'serving', 'refused'])
      this.theirs.on(type, () => {});
    this.#on('ask-state', ({ id }) =>
      this.#say({ type: 'state', id, state: { state: this.state, responses: 0, errors: 0, inFlight: 0 } }),
    );
    this.#on('expect', ({ generation }) => this.#expect(generation as number));
    this.#on('proceed', () => {});
    this.#on('abort', ({ generation }) => this.#failed(generation as number | undefined));
    this.#on('undo', () => this.#failed());
    this.#on('confirm', () => this.#confirm());
    this.#on('commit', () => this.#begin());
    this.#on('retire', () => this.retire());
  }

  /** Its supervisor has ended: nobody hears what it says until it comes back to the next one. */
  loses(): void {
    for (const end of [this.ours, this.theirs]) end.close();
    this.#open();
    this.#isHeard = false;
  }

  /** It comes back to another supervisor. @returns how it stands, as its hello says. */
  comesBack(): NonNullable<Message<'hello'>['rejoin']> {
    this.#isHeard = true;
    return { state: this.state, accepting: this.accepts, epoch: 1, successor: this.expected ?? null };
  }

  /** Its supervisor may hear of its end. */
  hear(): void {
    if (this.#ended !== undefined) this.#hear(this.#ended);
  }

  ends(exit: Exit): void {
    if (!this.isAlive) return;
    this.isAlive = false;
    this.accepts = false;
    this.#ended = exit;
    // Its own supervisor says so.
    if (this.#isForeign) this.theirs.send({ type: 'gone' } as never);
    else this.theirs.close();
  }

  /** It is ready: who gives the commit learns so. */
  ready(): void {
    if (!this.isAlive || this.isReady || this.accepts) return;
    this.isReady = true;
    this.#say({ type: 'ready', claims: [{ name: 'a', accepts: [] }], said: false });
  }

  /** What follows without anybody's doing: one step of its handover. */
  goOn(): void {
    if (!this.isAlive) return;
    const { successor } = this;
    if (this.state === 'expecting') {
      if (successor?.isAlive) {
        this.#step('hello');
        this.#stage('inherit');
      }
    } else if (this.state === 'inheriting') {
      if (successor?.isReady) {
        this.#step('ready');
        this.#stage('ready');
      }
    } else if (this.state === 'ready') {
      this.#step('commit');
      this.accepts = false;
    } else if (this.state === 'committing') {
      if (!successor?.isAlive) return;
      this.#step('committed');
      successor.#begin();
      this.#stage('commit');
      this.#isMoving = true;
      if (this.#isRetiring) this.retire();
    } else if (this.#isMoving && [...ON_PROBATION, 'draining'].includes(this.state)) {
      this.#isMoving = false;
      this.#stage('connections');
    } else if (this.state === 'probation' && successor?.hasDecided) this.#confirm();
    else if (this.state === 'undoing') this.#resume();
    else if (this.state === 'draining') {
      this.#step('drained');
      this.#say({ type: 'drained', report: { moved: 0, drained: 0, cut: [] } });
    } else if (this.state === 'ended') this.ends({ code: 0, signal: null });
    else if (this.state === 'returning') this.#whileReturning();
  }

  /** The time of its probation is over. */
  elapsed(): void {
    if (!this.isAlive || this.state !== 'probation') return;
    this.#step('elapsed');
    this.#stage('verify');
  }

  /** It notices that its successor is gone. */
  notices(): void {
    if (this.isAlive && this.successor?.isAlive === false) this.#failed();
    // Nobody answers who was to come.
    if (this.predecessor?.isAlive === false && this.state !== 'returning') this.predecessor = undefined;
  }

  /** A process of it has ended, and nobody listens where that one did. */
  leavesListeners(): void {
    this.#say({ type: 'left', pid: 7, names: ['a'], closed: false });
  }

  retire(): void {
    if (!this.isAlive) return;
    if (['committing', 'undoing', 'returning'].includes(this.state)) {
      this.#isRetiring = true;
      return;
    }
    if (BEFORE_COMMIT.includes(this.state)) this.#abort();
    if (this.state === 'serving') {
      this.accepts = false;
      this.#step('retire');
    } else this.#confirm();
  }

  /** It serves under another supervisor, through which it is spoken to. */
  servesAlready(): void {
    this.#isForeign = true;
    this.accepts = true;
  }

  /** It is told to accept by a supervisor that is not in this model. */
  begins(): void {
    this.#begin();
  }

  #expect(generation: number): void {
    if (this.state === 'serving' && this.accepts) {
      this.expected = generation;
      this.hasDecided = true;
      this.successor = undefined;
      this.#step('expect');
      this.#say({ type: 'expecting', generation });
      return;
    }
    const error = new MoultError('MOULT_RESTART_IN_PROGRESS', `it is ${this.state}`).report();
    this.#say({ type: 'expecting', generation, error });
  }

  #begin(): void {
    if (!this.isAlive || this.accepts) return;
    this.accepts = true;
    this.#say({ type: 'serving', epoch: 1, said: false });
  }

  #failed(generation = this.expected): void {
    if (!this.isAlive || generation !== this.expected) return;
    if (BEFORE_COMMIT.includes(this.state)) this.#abort();
    else if (this.state === 'committing' || ON_PROBATION.includes(this.state)) {
      this.#step('fail');
      this.successor?.giveBack();
    }
  }

  #abort(): void {
    this.#step('fail');
    const error = new MoultError('MOULT_HANDOVER_ABORTED', 'it failed').report();
    this.#say({ type: 'aborted', generation: this.expected, error });
    this.expected = undefined;
    this.successor = undefined;
  }

  /** Its predecessor takes the service back. */
  giveBack(): void {
    if (!this.isAlive) return;
    if (BEFORE_COMMIT.includes(this.state)) this.#abort();
    // One that cannot is ended by its predecessor.
    if (next(this.state, 'give-back') === undefined) this.ends({ code: null, signal: 'SIGKILL' });
    else this.#step('give-back');
    this.accepts = false;
  }

  #resume(): void {
    const { successor } = this;
    this.#step('resume');
    this.#isMoving = false;
    this.accepts = true;
    const alive = successor?.isAlive === true;
    const error = new MoultError('MOULT_SUCCESSOR_LOST', 'it failed').report();
    this.#say({ type: 'undone', generation: this.expected, error, alive });
    if (successor?.state === 'returning') successor.#step('taken-back');
    this.expected = undefined;
    this.successor = undefined;
    if (this.#isRetiring) this.retire();
  }

  #whileReturning(): void {
    if (this.predecessor?.isAlive) return;
    // The one that was to serve again is gone.
    this.#step('resume');
    this.accepts = true;
    this.#say({ type: 'serving', epoch: 2, said: false });
    if (this.#isRetiring) this.retire();
  }

  #confirm(): void {
    if (!this.isAlive || !ON_PROBATION.includes(this.state)) return;
    this.#step('confirm');
    if (this.successor !== undefined) this.successor.predecessor = undefined;
    this.#stage('confirm');
  }

  #stage(stage: string): void {
    const facts = stage === 'connections' ? { moved: 0, drained: 0, draining: 0 } : {};
    this.#say({ type: 'progress', generation: this.expected, stage, at: 0, facts });
  }

  #step(event: HandoverEvent): void {
    this.state = step(this.state, event);
  }

  #on(type: string, handler: (message: Said) => void): void {
    this.theirs.on(type, (message) => {
      if (this.isAlive) handler(message as Said);
    });
  }

  #say(message: Said): void {
    if (this.isAlive && this.#isHeard) this.theirs.send(message as never);
  }
}

/** A generation of the supervisor's whose process is simulated. */
export class SimulatedGeneration extends GenerationProcess {
  readonly service: SimulatedService;
  /** It says hello. */
  connects: () => void = () => {};
  /** Whether its supervisor has ended, and can do nothing to it. */
  isLost = false;

  constructor(service: SimulatedService, release: Release, settings: Settings) {
    const tree = { pid: 2 ** 30 + service.number, exited: service.exited, output: new OutputTail() };
    super(service.number, release, settings, tree);
    this.service = service;
  }

  get channel(): Lifeline {
    return this.service.ours as unknown as Lifeline;
  }

  override signalService(): void {
    if (this.isLost) return;
    // A service that gets its stop signal drains, or ends at once where it does not serve.
    if (this.service.accepts) this.service.retire();
    else this.service.ends({ code: 0, signal: null });
  }

  override kill(): void {
    if (this.isLost) return;
    this.service.ends({ code: null, signal: 'SIGKILL' });
  }
}
