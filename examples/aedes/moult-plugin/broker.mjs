import { setTimeout as pause } from 'node:timers/promises';
import { Aedes } from 'aedes';
import { Persistence } from './persistence.mjs';
import { Wire } from './wire.mjs';

const QUIET_WITHIN_MS = 10_000;
const HOOKS = ['preConnect', 'authenticate', 'authorizePublish', 'authorizeSubscribe', 'published'];

/** aedes, with an end at which all that was begun is done. */
export class Broker extends Aedes {
  #pending = 0;
  #hasLeft = false;
  #wires = new Set();
  /** Wires whose sockets are on their way, by the id of their client. */
  #awaited = new Map();

  constructor(options = {}) {
    const persistence = new Persistence();
    super({ ...options, persistence });
    for (const hook of HOOKS) {
      const own = this[hook];
      this[hook] = (...args) => own.call(this, ...args.slice(0, -1), this.#counted(args.at(-1)));
    }
    const { preConnect } = this;
    this.preConnect = (client, packet, done) => {
      client.conn.begin(packet);
      preConnect(client, packet, done);
    };
  }

  publish(packet, client, done = client) {
    const told = this.#counted(typeof done === 'function' ? done : () => {});
    if (this.#hasLeft) told(new Error('another generation has the broker'));
    else super.publish(packet, typeof client === 'function' ? null : client, told);
  }

  connect(connection) {
    if (connection.id === undefined) this.#add(new Wire()).attach(connection);
    else if (this.#awaited.has(connection.id)) this.#awaited.get(connection.id).attach(connection);
    else connection.socket.destroy();
  }

  /** Deals with no packet any more, finishes those that it has begun, and closes. @returns all that it knows. */
  async leave() {
    for (const wire of this.#wires) wire.hold();
    await this.#isQuiet();
    const clients = [...this.#wires].filter(({ client }) => client.connected).map((wire) => wire.leave());
    this.#hasLeft = true;
    for (const wire of this.#wires) wire.detach();
    const { id, counter, opts } = this;
    const state = { id, counter, clients, stored: await opts.persistence.all() };
    // What ends here ends for nobody.
    this.removeAllListeners().on('error', () => {});
    this.close();
    return state;
  }

  /** Goes on with what another has left. */
  async restore(state) {
    if (state === undefined) return this.listen();
    const { id, counter, clients, stored } = state;
    this.id = id;
    const { persistence } = this.opts;
    await this.listen();
    // Every client comes as one with a session: aedes then subscribes it without telling it so.
    for (const { id, subscriptions } of [...stored.sessions, ...clients]) {
      await persistence.addSubscriptions({ id }, subscriptions);
    }
    const wires = clients.map((saved) => this.#add(new Wire(saved)));
    await Promise.all(wires.map((wire) => this.#isReady(wire)));
    for (const { client, saved } of wires) {
      client.clean = saved.clean;
      client._nextId = saved.nextId;
      if (saved.clean) await persistence.cleanSubscriptions(client);
    }
    await persistence.fill(stored);
    await this.#isQuiet();
    this.counter = Math.max(this.counter, counter);
    for (const wire of wires) wire.listen();
  }

  #add(wire) {
    this.#wires.add(wire);
    if (wire.saved !== undefined) this.#awaited.set(wire.saved.id, wire);
    wire.once('attached', () => this.#awaited.delete(wire.saved?.id));
    wire.once('close', () => this.#awaited.delete(wire.saved?.id));
    this.handle(wire);
    return wire;
  }

  #isReady(wire) {
    wire.offer();
    return new Promise((resolve) => {
      wire.client.once('connected', resolve);
      wire.once('close', resolve);
    });
  }

  #counted(done) {
    this.#pending += 1;
    let isOver = false;
    return (...args) => {
      done(...args);
      if (!isOver) this.#pending -= 1;
      isOver = true;
    };
  }

  /** All that was begun is done; or a hook of the service's takes too long. */
  async #isQuiet() {
    const giveUpAtMs = performance.now() + QUIET_WITHIN_MS;
    const isBusy = () => this.#pending + this.opts.persistence.streams > 0;
    do {
      await pause(1);
      for (const wire of this.#wires) if (wire.isOver(this)) this.#wires.delete(wire);
    } while (
      performance.now() < giveUpAtMs &&
      (isBusy() || [...this.#wires].some(({ isQuiet }) => !isQuiet))
    );
  }
}
