import type {
  ActionResult,
  Fact,
  FleetView,
  PageAction,
  PageMessage,
  ServiceHistory,
} from '../page-messages.js';

const MAX_SAMPLES = 1200;
const MAX_FACTS = 600;

/** What the page knows. */
export interface Known {
  readonly services: ReadonlyMap<string, ServiceHistory>;
  /** Whether the server is heard. */
  readonly isLive: boolean;
  /** How far this machine's clock is ahead of the server's, in milliseconds. */
  readonly clockAheadMs: number;
  readonly fleet?: FleetView | undefined;
}

/** Hears the server, again and again when it was away, and keeps what it tells. */
export class Store {
  #known: Known = { services: new Map(), isLive: false, clockAheadMs: 0 };
  readonly #onChange: (known: Known) => void;
  #events: EventSource | undefined;

  constructor(onChange: (known: Known) => void) {
    this.#onChange = onChange;
  }

  open(): void {
    const events = new EventSource('/events');
    this.#events = events;
    events.onmessage = ({ data }) => this.#heard(JSON.parse(String(data)) as PageMessage);
    events.onerror = () => {
      this.#set({ isLive: false });
      // The browser comes again by itself, unless it was answered with an error: as by a server that is just going.
      if (events.readyState === EventSource.CLOSED) setTimeout(() => this.open(), 1000);
    };
  }

  close(): void {
    this.#events?.close();
  }

  #heard(message: PageMessage): void {
    if (message.type === 'whole') {
      const services = new Map(message.services.map((one) => [one.view.name, one]));
      const { now, fleet } = message;
      this.#set({ services, isLive: true, clockAheadMs: Date.now() - now, fleet });
      return;
    }
    if (message.type === 'fleet') {
      this.#set({ isLive: true, fleet: message.fleet });
      return;
    }
    const services = new Map(this.#known.services);
    if (message.type === 'gone') services.delete(message.service);
    else {
      const name = message.type === 'look' ? message.view.name : message.service;
      const next = changed(services.get(name), message);
      if (next !== undefined) services.set(name, next);
    }
    this.#set({ services, isLive: true });
  }

  #set(change: Partial<Known>): void {
    this.#known = { ...this.#known, ...change };
    this.#onChange(this.#known);
  }
}

type Change = Exclude<PageMessage, { readonly type: 'whole' | 'gone' | 'fleet' }>;

function changed(known: ServiceHistory | undefined, message: Change): ServiceHistory | undefined {
  if (message.type === 'look') {
    const { view, samples } = message;
    const before = known ?? { samples: [], facts: [], restarts: [] };
    return { ...before, view, samples: [...before.samples, ...samples].slice(-MAX_SAMPLES) };
  }
  if (known === undefined) return undefined;
  if (message.type === 'history') return { ...known, restarts: message.restarts };
  const facts: readonly Fact[] = [...known.facts, message.fact].slice(-MAX_FACTS);
  return { ...known, facts };
}

/** Asks the server to do something. */
export async function ask(action: PageAction): Promise<ActionResult> {
  try {
    const response = await fetch('/act', {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-moult-action': '1' },
      body: JSON.stringify(action),
    });
    if (response.ok) return (await response.json()) as ActionResult;
    return { ok: false, message: await response.text() };
  } catch (error) {
    return { ok: false, message: `The server of this page could not be reached (${String(error)}).` };
  }
}
