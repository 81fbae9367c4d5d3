import type { Logger } from 'pino';
import type { Line } from '../../channel/line.js';
import { asMoultError, MoultError } from '../../errors.js';
import { wallClockMs } from '../../os/clock.js';
import { closeDescriptor } from '../../os/descriptors/descriptor.js';
import { copyDescriptorOf } from '../../os/descriptors/foreign-descriptor.js';
import type { Message } from '../../protocol/messages.js';
import type { HeldListeners } from '../listeners/held-listeners.js';
import type { GenerationProcess } from '../process/generation-process.js';
import type { Generations } from '../process/generations.js';
import { endWithService } from '../process/wrapper-process.js';
import type { RestartService } from '../restart/restart-service.js';
import { replaceByDrain } from './drained-restart.js';
import type { ServingState } from './serving-state.js';

/** The handover to another supervisor, which hears what the generation that serves says of it. */
export interface OutgoingHandover {
  heard(generation: GenerationProcess, told: Message<'progress' | 'aborted' | 'undone' | 'release'>): void;
}

/** What is told of what a generation says. */
export interface GenerationMessagesParts {
  readonly generations: Generations;
  readonly restarts: RestartService;
  readonly servingState: ServingState;
  readonly outgoingTakeover: OutgoingHandover;
  readonly held: HeldListeners;
  readonly log: Logger;
  /** Makes the configured check; rejects when it fails. */
  readonly check: (generation: GenerationProcess) => Promise<void>;
  /** How many connections one has, as far as that is seen from outside. */
  readonly connections: (generation: GenerationProcess) => number;
}

/** How long a generation that is to be ended because it does not answer may take to answer all the same. */
const ANSWER_TIMEOUT_MS = 1000;

/** Listens to a generation: what it says of itself, and of the successor to which it hands over. */
export function listenTo(generation: GenerationProcess, channel: Line, parts: GenerationMessagesParts): void {
  listenToListeners(generation, channel, parts);
  listenToHandover(generation, channel, parts);
  const { generations, servingState, log } = parts;
  endWithService(generation, channel, log);
  channel.on('missing', ({ passesBy, ...missing }) => {
    generation.missing = missing;
    if (!passesBy) return;
    log.info(
      `generation ${generation.number}: process ${generation.servicePid} listened for a moment and has ended; the service is one that comes after it`,
    );
    generation.detach();
  });
  channel.on('ready', ({ claims, said, reach }) => {
    generation.reachPath = reach;
    servingState.ready(generation, claims);
    const predecessor = generation.livingPredecessor;
    const drains = predecessor !== undefined && (generation.isAddonless || predecessor.isAddonless);
    if (drains) replaceByDrain(generation, predecessor, parts, { claims: claims.length, said });
    else if (generation.isForced) replaceSilent(generation, parts, { claims: claims.length, said });
  });
  channel.on('committed', () => {});
  channel.on('serving', ({ epoch, said }) => {
    if (said) generations.saidReady();
    servingState.serving(generation, epoch);
  });
  channel.on('drained', ({ report, measures }) => {
    generation.measures = measures ?? generation.measures;
    servingState.drained(generation, report);
  });
}

// It cannot send a copy itself. Without one its next restart finds the address taken.
function copied({ number, servicePid }: GenerationProcess, fd: number, name: string, log: Logger): number[] {
  try {
    return [copyDescriptorOf(servicePid, fd)];
  } catch (error) {
    log.error(
      `generation ${number} could not share a copy of ${name} (${String(error)}): it cannot be passed on in a restart or a crash. See kernel.yama.ptrace_scope, or give the supervisor CAP_SYS_PTRACE`,
    );
    return [];
  }
}

/** A service may open a port for each of its clients: of more than so many the log says no more. */
const MAX_LATE_TOLD = 3;

// A new release that opens it as late is not ready in time, and it may do so only when a client asks for it.
function tellOfLateOpening(generation: GenerationProcess, name: string, log: Logger): boolean {
  const { number, startedAt, servingSince, isAdopted, late, settings } = generation;
  const afterMs = wallClockMs() - startedAt;
  if (isAdopted || servingSince === undefined || late?.has(name) || afterMs <= settings.readyTimeoutMs)
    return false;
  const s = (ms: number) => `${Math.round(ms / 1000)} s`;
  log.warn(
    `generation ${number} has opened ${name} ${s(afterMs)} after its start. A restart waits until the new release listens there, too, for ` +
      `${s(settings.readyTimeoutMs)} (--ready-timeout), and then fails: if only a client's request opens it, close it before a restart, ` +
      'restart with --allow-fewer-listeners, which closes it, or open any free port (listen(0)), which stays until its service closes it',
  );
  return true;
}

function listenToListeners(
  generation: GenerationProcess,
  channel: Line,
  { held, generations, outgoingTakeover, servingState, log }: GenerationMessagesParts,
): void {
  const opened = new Set<string>();
  channel.on('hold', ({ listener, fd: theirs }, incoming) => {
    const [fd] = theirs === undefined ? incoming.take() : copied(generation, theirs, listener.name, log);
    // Of the same name another is served, perhaps at another port.
    const isUnwanted = generation.isSecond || !held.takes(listener);
    if (fd !== undefined && isUnwanted) closeDescriptor(fd);
    else if (fd !== undefined) {
      const { name } = listener;
      if (held.descriptorOf(name) === undefined && !opened.has(name) && opened.size < MAX_LATE_TOLD)
        if (tellOfLateOpening(generation, name, log)) opened.add(name);
      held.hold(listener, fd, generation.number);
      servingState.lateListeners.listens(generation, listener.name);
    } else if (theirs === undefined)
      log.error(`no copy of ${listener.name} could be kept: this process has no descriptors left`);
  });
  channel.on('release', (release) => {
    held.release(release.name, generation.number);
    if (release.late) servingState.lateListeners.missed(generation, release.name);
    else if (generation === generations.current) {
      // A successor that has not taken over yet need not come to listen on what is closed here.
      generations.starting()?.lifeline?.send({ type: 'withdraw', name: release.name });
    }
    outgoingTakeover.heard(generation, release);
  });
  channel.on('left', (left) => servingState.left(generation, left));
}

function listenToHandover(
  predecessor: GenerationProcess,
  channel: Line,
  parts: GenerationMessagesParts,
): void {
  const { generations, restarts, servingState, outgoingTakeover } = parts;
  channel.on('progress', (progress) => {
    outgoingTakeover.heard(predecessor, progress);
    const { generation: number, stage, facts } = progress;
    const successor = generations.numbered(number);
    if (stage === 'confirm') servingState.confirmation.confirmed(number);
    if (successor === undefined) return;
    restarts.handoverTo(successor)?.stage(stage, facts);
    if (stage === 'verify') servingState.confirmation.verify(predecessor, number);
    if (stage === 'ready') checkBeforeCommit(predecessor, successor, parts);
    // The successor says so itself, unless it hangs just then: its probation must begin all the same.
    if (stage === 'commit' && !successor.isEnding) servingState.serving(successor, undefined);
  });
  channel.on('aborted', (aborted) => {
    servingState.aborted(aborted.generation, MoultError.from(aborted.error));
    outgoingTakeover.heard(predecessor, aborted);
  });
  channel.on('undone', (undone) => {
    const { generation: number, error, alive } = undone;
    servingState.undone(predecessor, number, MoultError.from(error), alive);
    outgoingTakeover.heard(predecessor, undone);
  });
}

// While the gate is shut: a wrong answer ends the handover, and no client has seen it.
function checkBeforeCommit(
  predecessor: GenerationProcess,
  successor: GenerationProcess,
  { restarts, check }: GenerationMessagesParts,
): void {
  if (!successor.settings.checked) return;
  check(successor).then(
    () => {
      restarts.handoverTo(successor)?.stage('check', {});
      predecessor.lifeline?.send({ type: 'proceed', generation: successor.number });
    },
    (error) => {
      const told = asMoultError(error, 'MOULT_CHECK_FAILED');
      predecessor.expectNoMore(successor.number, told);
    },
  );
}

// The successor takes over as from one that has died; one that answers again is not ended for nothing.
async function replaceSilent(
  successor: GenerationProcess,
  { restarts, check, connections, log }: GenerationMessagesParts,
  facts: Record<string, unknown>,
): Promise<void> {
  const handover = restarts.handoverTo(successor);
  const predecessor = successor.livingPredecessor;
  if (handover === undefined || predecessor === undefined) return;
  handover.stage('ready', facts);
  try {
    if (successor.settings.checked) {
      await check(successor);
      handover.stage('check', {});
    }
    const answers = await predecessor.state(ANSWER_TIMEOUT_MS).then(
      () => true,
      () => false,
    );
    if (handover.isSettled || predecessor.exit !== undefined) return;
    if (answers) {
      const what = `generation ${predecessor.number} answers again: restart without --force, which cuts no connection`;
      throw new MoultError('MOULT_HANDOVER_ABORTED', what, { serving: 'predecessor' });
    }
    const cut = connections(predecessor);
    handover.stage('force', { cut });
    log.warn(`generation ${predecessor.number} does not answer and is killed: ${cut} connections are cut`);
    predecessor.kill();
  } catch (error) {
    handover.fail(asMoultError(error, 'MOULT_CHECK_FAILED'));
  }
}
