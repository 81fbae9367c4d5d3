import { basename } from 'node:path';
import { Opening } from '../channel/open.js';
import { isOfTree } from '../os/processes/proc-tree.js';
import { joinMain, type ServiceThread } from '../threads/service-thread.js';
import { askToEnd } from './ask-to-end.js';
import type { StartedBy } from './environment.js';

/** How long each of those that are asked may take; this process stands still meanwhile, and one of them may wait for it. */
const ANSWER_TIMEOUT_MS = 3000;

/**
 * Joins a service that another process of this one's tree is: what this process listens on changes hands with the rest, led
 * by that process as worker threads are by their main thread.
 * @param supervisor the path of its socket.
 * @returns null when the service takes nobody, or does not answer; said as a warning, for its ports stay behind then.
 */
export function joinService(supervisor: string, generation: number): ServiceThread | null {
  try {
    const door = askForDoor(supervisor, generation);
    if (door === null) return null;
    return joinMain(door, new Int32Array(new SharedArrayBuffer(4)), {
      timeoutMs: ANSWER_TIMEOUT_MS,
      end: (stopSignal) => askToEnd(stopSignal as NodeJS.Signals),
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

function askForDoor(supervisor: string, generation: number): string | null {
  const { version: node } = process;
  const asked = new Opening(supervisor, { role: 'member', generation, node }, ANSWER_TIMEOUT_MS);
  try {
    return asked.hear('members-door').message.path;
  } finally {
    asked.abandon();
  }
}
