import { MoultError } from '../../errors.js';
import type { Threads } from '../../handover/threads.js';
import type { Listener } from '../../listeners/listener.js';
import type { ListenerRegistry } from '../../listeners/registry.js';
import type { StreamListener } from '../../listeners/stream-listener.js';
import { ThreadListener } from '../../listeners/thread-listener.js';
import type { ListenerItem, Settings } from '../../protocol/messages.js';

/** How long after its last listen() a service with fewer listeners is taken for ready, where the settings do not say. */
const FEWER_LISTENERS_MS = 1000;
/** How often to check whether the connections of a server are handled by now. */
const LOOK_MS = 50;

/** What is said of a listener whose service does not handle its connections. */
const WITHOUT = ' with a handler for its connections';
/** The longest name that a message has room for. */
const MAX_NAME = 512;

/** Of what readiness is made, and whom it tells. */
export interface ReadinessParts {
  readonly settings: Settings;
  readonly listeners: ListenerRegistry;
  readonly threads: Threads;
  /** What was passed to this generation. */
  readonly inherited: readonly ListenerItem[];
  /** Whether another generation serves until this one is ready. */
  readonly hasPredecessor: boolean;
  /** Calls back when its service receives what it subscribes to at brokers, or need not. */
  readonly brokersSettled: (then: () => void) => void;
  /** It is ready. @param late the listeners that it lacks, and that are held for it. */
  readonly ready: (late: readonly string[]) => void;
  /** It listens, in another form, on an address that is held for it, and that its predecessor has. */
  readonly refuse: (error: MoultError) => void;
  /** It is not ready for want of listeners. @param opened what it has opened that was not passed to it. */
  readonly missing: (names: readonly string[], opened: readonly string[]) => void;
}

/**
 * When a generation is ready: its service has said so, or listens on all that it is to have. A service that opens its
 * listeners one after another is waited for; only where that is allowed is it taken with fewer.
 */
export class Readiness {
  readonly #parts: ReadinessParts;
  #waitsForWord: boolean;
  #isOfLibrary = false;
  #isTested = false;
  #hasSaid = false;
  #hasLived = false;
  #isReady = false;
  #isFeeding = false;
  #isFed = false;
  #told = '';
  /** What the predecessor has opened since, and the release is to have too. */
  #added: string[] = [];
  #soon: NodeJS.Immediate | undefined;
  #timer: NodeJS.Timeout | undefined;
  #look: NodeJS.Timeout | undefined;

  constructor(parts: ReadinessParts) {
    this.#parts = parts;
    this.#waitsForWord = parts.settings.waitReady;
  }

  /** Whether the service itself has said that it is ready. */
  get hasSaid(): boolean {
    return this.#hasSaid;
  }

  /** Whether the service itself uses the library. */
  get isOfLibrary(): boolean {
    return this.#isOfLibrary;
  }

  /** The service will say when it is ready: until then it is not, whatever it listens on. */
  willSay(): void {
    this.#isOfLibrary = true;
    this.#waitsForWord = true;
  }

  /** The service says that it is ready. */
  said(): void {
    this.#hasSaid = true;
    this.#check();
  }

  /** The service has lived for as long as one without a listener takes to be ready. */
  lives(): void {
    this.#hasLived = true;
    this.#check();
  }

  /** What this Node can move is known. */
  tested(): void {
    this.#isTested = true;
    this.#check();
  }

  /** A listener came or went. One that its service closes as soon as it listens was only a try whether the port is free. */
  changed(): void {
    this.#soon ??= setImmediate(() => {
      this.#soon = undefined;
      this.#check();
    });
  }

  /** The predecessor has opened one more that this one is to have. */
  alsoExpects(name: string): void {
    this.#added.push(name);
    this.changed();
  }

  /** Its service listens in a form in which it cannot while the predecessor lives: it will never be ready. */
  otherForm(asked: string, held: string): void {
    if (this.#isReady) return;
    const what = `it listens on ${asked}, which cannot be opened while its predecessor listens on ${held}`;
    this.#parts.refuse(new MoultError('MOULT_OTHER_ADDRESS', what));
  }

  /** The listeners that it is to have and has not. */
  missing(): string[] {
    const { settings, listeners } = this.#parts;
    const unhandled = this.#unhandled().filter((listener) => this.#needsHandler(listener));
    const without = new Set(unhandled.map(({ identity }) => identity.name));
    if (settings.expects === undefined) {
      const claimed = unhandled.filter(({ isInherited }) => isInherited);
      return [...listeners.inherited.unclaimed(), ...claimed.map(({ identity }) => identity.name)];
    }
    return [...new Set([...settings.expects, ...this.#added])].filter(
      (name) =>
        (listeners.named(name) === undefined || without.has(name)) && !listeners.inherited.isWithdrawn(name),
    );
  }

  // A server without a handler is no service: it only looks whether the port is free, or gets its handler later.
  #unhandled(): StreamListener[] {
    return this.#parts.listeners.streams().filter(({ isHandled }) => !isHandled);
  }

  // Unless it never has one, such as a server by which a service runs only once: a predecessor tells of that, or time.
  #needsHandler({ wasUnhandled, isInherited, server }: StreamListener): boolean {
    // An older release of moult does not tell, and looks for this alone.
    if (isInherited && (wasUnhandled ?? server.listenerCount('connection') > 0)) return false;
    const { hasPredecessor, settings } = this.#parts;
    if (isInherited && hasPredecessor) return true;
    // After a crash its handler may wait for a database; but an older release, which is started then, may have none.
    const hadOne = isInherited && wasUnhandled === false;
    const hasWaited = hadOne ? performance.now() > settings.readyTimeoutMs / 2 : this.#hasLived;
    return !(hasWaited || this.#hasSaid);
  }

  get #sockets(): Listener[] {
    const unhandled: readonly Listener[] = this.#unhandled();
    return this.#parts.listeners.sockets().filter((listener) => !unhandled.includes(listener));
  }

  #check(): void {
    clearTimeout(this.#timer);
    if (!this.#isTested || this.#isReady) return;
    const missing = this.missing();
    const { settings, threads } = this.#parts;
    const isEnough = missing.length === 0 || settings.allowFewerListeners;
    const isWhole = missing.length === 0 && (this.#hasSome || this.#hasLived);
    const isThere = this.#hasSaid ? isEnough : isWhole && !this.#waitsForWord;
    const threadsMs = isThere ? threads.missingMs(this.#threadsExpected()) : 0;
    if (isThere && threadsMs === 0) this.#beReadyWhenFed();
    else if (isThere) this.#timer = setTimeout(() => this.#check(), threadsMs);
    else if (missing.length > 0) this.#lack(missing);
    // The handler may come later.
    if (!isThere && this.#unhandled().length > 0)
      this.#look ??= setTimeout(() => {
        this.#look = undefined;
        this.#check();
      }, LOOK_MS);
  }

  #lack(missing: readonly string[]): void {
    const { settings, listeners, missing: tell } = this.#parts;
    const opened = listeners.sockets().flatMap((one) => (one.isInherited ? [] : [one.identity.name]));
    const names = missing.map((name) =>
      listeners.named(name) === undefined ? name : `${name}${WITHOUT}`.slice(0, MAX_NAME),
    );
    const told = JSON.stringify([names, opened]);
    if (told !== this.#told) tell(names, opened);
    this.#told = told;
    if (!settings.allowFewerListeners || this.#waitsForWord || !this.#mayLack) return;
    this.#timer = setTimeout(() => this.#beReadyWhenFed(), settings.fewerAfterMs ?? FEWER_LISTENERS_MS);
  }

  get #hasSome(): boolean {
    const { listeners, inherited } = this.#parts;
    const isToHave = ({ name, spare }: ListenerItem) => !spare && !listeners.inherited.isWithdrawn(name);
    return this.#sockets.length > 0 || inherited.some(isToHave);
  }

  // One that has none of what its predecessor has would leave every client with nobody.
  get #mayLack(): boolean {
    const { settings, hasPredecessor } = this.#parts;
    const sockets = this.#sockets;
    if (!hasPredecessor) return sockets.length > 0;
    return sockets.some(
      ({ isInherited, identity }) => isInherited || settings.expects?.includes(identity.name) === true,
    );
  }

  // What is not a thread's any more waits for none; how many threads it has, a service that says it is ready knows best.
  #threadsExpected(): ListenerItem[] {
    const { inherited, listeners } = this.#parts;
    const ofThreads = inherited.filter(({ name }) => listeners.named(name) instanceof ThreadListener);
    return this.#hasSaid ? ofThreads.map(({ threads: _, ...item }) => item) : ofThreads;
  }

  // What the predecessor opens meanwhile is looked for as before.
  #beReadyWhenFed(): void {
    if (!this.#isFeeding) {
      this.#isFeeding = true;
      this.#parts.brokersSettled(() => {
        this.#isFed = true;
        this.changed();
      });
    }
    if (this.#isFed) this.#beReady();
  }

  #beReady(): void {
    this.#isReady = true;
    const { settings, listeners, inherited, ready } = this.#parts;
    // What a service manager keeps open itself is held for whoever claims it, and for ever.
    const lasting = new Set(inherited.flatMap(({ name, lasting }) => (lasting ? [name] : [])));
    // A release that had fewer when it served last may yet come to listen on the others, too.
    const others = settings.sharesListeners === true ? [] : listeners.inherited.unclaimed();
    const late = new Set([...this.missing(), ...others]);
    ready([...late].filter((name) => !lasting.has(name)));
  }
}
