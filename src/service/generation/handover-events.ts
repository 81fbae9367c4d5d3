import type { EventEmitter } from 'node:events';
import { knownHub } from '../../broadcast/shared.js';
import type { Line } from '../../channel/line.js';
import type { GenerationContext } from '../../handover/generation-context.js';
import type { PredecessorEvents } from '../../handover/predecessor/predecessor-events.js';
import type { Predecessor } from '../../handover/predecessor.js';
import type { SuccessorEvents } from '../../handover/successor.js';
import { wallClockMs } from '../../os/clock.js';
import type { DrainReport, Message, MessageType } from '../../protocol/messages.js';
import type { LifeEvents } from '../life-events.js';
import type { Overseer } from '../overseer/overseer.js';
import type { HeldForService } from './held-for-service.js';
import type { ListenerReports } from './listener-reports.js';
import type { Readiness } from './readiness.js';

/** Who hears of the handovers of a generation: as they are when something happens. */
export interface HandoverEventsParts {
  readonly context: GenerationContext;
  readonly life: EventEmitter<LifeEvents>;
  readonly reports: ListenerReports;
  readonly heldForService: HeldForService;
  readonly lifeline: () => Line;
  readonly overseer: () => Overseer;
  readonly readiness: () => Readiness;
  readonly predecessor: () => Predecessor;
  /** The number of the successor that was expected last, 0 where there was none. */
  readonly successorNumber: () => number;
  /** Whether this generation waits for its commit. */
  readonly isGated: () => boolean;
  committed(): void;
  /** Ends this generation as its overseer would. */
  retire(): void;
  end(report: DrainReport): void;
}

/** Tells the overseer and the service what becomes of a handover to a successor. */
export function predecessorEvents(parts: HandoverEventsParts): PredecessorEvents {
  const { context, life, reports, overseer, readiness, successorNumber, end } = parts;
  const say = <T extends MessageType>(message: Message<T>) => parts.lifeline().send(message);
  return {
    isOverseen: () => !parts.lifeline().isClosed,
    stage: (stage, facts) => {
      say({ type: 'progress', generation: successorNumber(), stage, at: wallClockMs(), facts });
      if (stage === 'commit') life.emit('yield', { successor: successorNumber() });
      if (stage === 'confirm') life.emit('drain');
    },
    aborted: (error) => {
      say({ type: 'aborted', generation: successorNumber(), error: error.report() });
      life.emit('failed', error);
    },
    undone: (error, alive) => {
      say({ type: 'undone', generation: successorNumber(), error: error.report(), alive });
      // What the successor has told of since is not what serves.
      for (const listener of context.listeners.own()) reports.hold(listener);
      overseer().accepts();
      life.emit('failed', error);
      life.emit('serve', { resumed: true });
    },
    takenBack: () => life.emit('drain'),
    servesOn: () => {
      say({ type: 'serving', epoch: context.epoch, said: readiness().hasSaid });
      overseer().accepts();
      life.emit('serve', { resumed: true });
    },
    released: (name) => say({ type: 'release', name }),
    given: (listener) => reports.hold(listener),
    drained: (report) => end(report),
  };
}

/** Tells the overseer and the service what becomes of the handover from a predecessor. */
export function successorEvents(parts: HandoverEventsParts): SuccessorEvents {
  const { context, life, heldForService, overseer, predecessor } = parts;
  return {
    committed: () => parts.committed(),
    handBack: (channel, flows, message, returning) => {
      heldForService.stop();
      predecessor().giveBack(channel, flows, message, returning);
      knownHub()?.feeds.yield();
    },
    aborted: (error) => {
      context.tasks.close();
      life.emit('aborted', error);
      overseer().aborted(error);
    },
    retire: () => parts.retire(),
    lateListener: (item, fd, waits) => heldForService.add(item, fd, waits),
    confirmed: () => heldForService.confirm(),
    ended: () => {
      heldForService.confirm();
      // The predecessor died before it had committed: the overseer will, and until then we must live.
      if (parts.isGated()) parts.lifeline().ref();
      predecessor().feedEnded();
      overseer().predecessorEnded();
    },
  };
}
