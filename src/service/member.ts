import cluster from 'node:cluster';
import { basename } from 'node:path';
import { Opening } from '../channel/open.js';
import { isOfTree } from '../os/processes/proc-tree.js';
import { joinMain, type ServiceThread } from '../threads/service-thread.js';
import { askToEnd } from './ask-to-end.js';
import type { StartedBy } from './environment.js';

/** How long each of those that are asked may take; this process stands still meanwhile, and one of them may wait for it. */
const ANSWER_TIMEOUT_MS = 3000;
/** How long the primary of node:cluster may take to become the service for a worker that is about to listen. */
const LEAD_TIMEOUT_MS = 30_000;
const LOOK_MS = 20;
/** As in preload/cluster.cts. */
const LEAD = 'NODE_MOULT_LEAD';

/**
 * Joins a service that another process of this one's tree is: what this process listens on changes hands with the rest, led
 * by that process as worker threads are by their main thread.
 * @param supervisor the path of its socket.
 * @returns null when the service takes nobody, or does not answer; said as a warning, for its ports stay behind then.
 */
export function joinService(supervisor: string, generation: number): ServiceThread | null {
  try {
    const door = cluster.isWorker
      ? doorOfPrimary(supervisor, generation)
      : askForDoor(supervisor, generation);
    if (door === null) return null;
    return joinMain(door, new Int32Array(new SharedArrayBuffer(4)), {
      timeoutMs: cluster.isWorker ? LEAD_TIMEOUT_MS : ANSWER_TIMEOUT_MS,
      end: (stopSignal) => {
        // Its primary has it end, when it has finished its requests.
        if (!cluster.isWorker) askToEnd(stopSignal as NodeJS.Signals);
      },
    });
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    process.emitWarning(
      `process ${process.pid} also listens, but could not join the service that moult found (${why}): a restart does not hand over its ports`,
      'MoultWarning',
    );
    return null;
  }
}

/**
 * Whether a path at which this process listens is between the service and a helper that it has started, as this one is: then it
 * stays as it is. What two processes of a shell or a launcher listen at is for clients.
 */
export function isOwnPath({ supervisor, generation }: StartedBy): boolean {
  try {
    const door = askForDoor(supervisor, generation);
    // By the number of the process that opened it.
    const service = Number(/\d+/.exec(basename(door ?? ''))?.[0] ?? 0);
    return service === 0 || isOfTree(process.pid, service) === true;
  } catch {
    return true;
  }
}

// A primary that opens nothing itself is the service, too, as soon as one of its workers is about to listen.
function doorOfPrimary(supervisor: string, generation: number): string | null {
  const nothing = new Int32Array(new SharedArrayBuffer(4));
  const deadlineMs = performance.now() + LEAD_TIMEOUT_MS;
  if (process.connected) process.send?.({ cmd: LEAD });
  for (;;) {
    const door = askForDoor(supervisor, generation);
    if (door !== null || performance.now() > deadlineMs) return door;
    Atomics.wait(nothing, 0, 0, LOOK_MS);
  }
}

function askForDoor(supervisor: string, generation: number): string | null {
  const { version: node } = process;
  const asked = new Opening(supervisor, { role: 'member', generation, node }, ANSWER_TIMEOUT_MS);
  try {
    return asked.hear('members-door').message.path;
  } finally {
    asked.abandon();
  }
}
