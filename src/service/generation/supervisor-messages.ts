import type { EventEmitter } from 'node:events';
import type { Line } from '../../channel/line.js';
import { MoultError } from '../../errors.js';
import type { GenerationContext } from '../../handover/generation-context.js';
import { meetPeerSlots, type Taker } from '../../handover/peer-slots.js';
import type { Predecessor } from '../../handover/predecessor.js';
import { giveToServer, socketOn } from '../../node/http/http1.js';
import { closeDescriptor } from '../../os/descriptors/descriptor.js';
import type { GenerationState, Settings } from '../../protocol/messages.js';
import type { StickyRouter } from '../../sticky/sticky-router.js';
import type { LifeEvents } from '../life-events.js';
import type { StopDelay } from '../stop-delay.js';
import type { BroadcastPeers } from './broadcast-peers.js';
import type { Readiness } from './readiness.js';

/** What a generation does when its overseer says something. */
export interface OverseenGeneration {
  readonly number: number;
  /** To the overseer of the moment: another one may have come since the question. */
  readonly lifeline: () => Line;
  readonly context: GenerationContext;
  readonly predecessor: Predecessor;
  readonly readiness: Readiness;
  readonly stickyRouter: StickyRouter;
  readonly peers: BroadcastPeers;
  readonly stopDelay: StopDelay;
  readonly life: EventEmitter<LifeEvents>;
  /** Whether it accepts. */
  isServing(): boolean;
  expect(generation: number, settings: Settings): void;
  retire(timeoutMs: number, keepOpen?: boolean, heirs?: readonly Taker[]): void;
  /** Lets its successor in at this socket, which was bound in the place of its own that was removed; belongs to it. */
  takeDoor(path: string, fd: number): void;
  /** Where worker threads join it. */
  doorForThreads(): Promise<string>;
  describe(measure: boolean): Promise<GenerationState>;
}

/** Does what the overseer says over this lifeline. */
export function heedOverseer(lifeline: Line, generation: OverseenGeneration): void {
  const { number, context, predecessor, readiness, stickyRouter, peers, stopDelay, life } = generation;
  const { listeners } = context;
  lifeline.on('expect', ({ generation: next, settings }) => generation.expect(next, settings));
  lifeline.on('abort', ({ error, generation: failed }) => predecessor.fail(MoultError.from(error), failed));
  lifeline.on('undo', ({ error }) => predecessor.fail(MoultError.from(error)));
  lifeline.on('proceed', ({ generation: checked }) => predecessor.proceed(checked));
  lifeline.on('confirm', ({ retire }) => predecessor.confirm(retire));
  lifeline.on('retire', ({ timeoutMs, keepOpen, heirs }) => {
    if (heirs === undefined) generation.retire(timeoutMs, keepOpen);
    else meetPeerSlots(heirs, number).then((met) => generation.retire(timeoutMs, keepOpen, met));
  });
  lifeline.on('stopping', (stopping) => {
    stopDelay.begin(stopping);
    life.emit('stopping', { delayMs: stopping.delayMs });
  });
  lifeline.on('homes', (homes) => stickyRouter.learn(homes));
  lifeline.on('peers', ({ peers: known }) => peers.learn(known));
  lifeline.on('take-door', ({ path }, incoming) => {
    const [fd] = incoming.take();
    if (fd !== undefined) generation.takeDoor(path, fd);
  });
  lifeline.on('give', async ({ door, count }) => {
    const moved = await predecessor.loadSharing.give(door, count, number, () => generation.isServing());
    generation.lifeline().send({ type: 'gave', moved });
  });
  lifeline.on('share', ({ listener }, incoming) => {
    const [fd] = incoming.take();
    if (fd !== undefined) listeners.inherited.offer(listener, fd);
  });
  lifeline.on('withdraw', ({ name }) => {
    listeners.inherited.withdraw(name);
    readiness.changed();
  });
  lifeline.on('check-connection', ({ listener }, incoming) => check(context, listener, incoming.take()));
  lifeline.on('ask-members-door', ({ id }) => {
    const tell = (path: string | null) => lifeline.send({ type: 'members-door', id, path });
    generation.doorForThreads().then(tell, () => tell(null));
  });
  lifeline.on('ask-state', ({ id, measure = false, declared = false }) => {
    // Without an answer the overseer knows no more than before; the service goes on.
    generation
      .describe(measure)
      .then((state) => {
        const { state: kept } = context;
        const beside = declared ? { declared: kept.declared(), passable: kept.passable() } : {};
        lifeline.send({ type: 'state', id, state: { ...state, ...beside } });
      })
      .catch(() => {});
  });
}

// The supervisor speaks to the service as a client would, past the gate.
function check(
  { listeners, threads }: GenerationContext,
  name: string | null,
  [fd, ...surplus]: number[],
): void {
  for (const one of surplus) closeDescriptor(one);
  if (fd === undefined) return;
  const server = name === null ? listeners.streams()[0]?.server : listeners.serverOf(name);
  if (server !== undefined) giveToServer(server, socketOn(fd, server));
  else {
    threads.check(name, fd);
    closeDescriptor(fd);
  }
}
