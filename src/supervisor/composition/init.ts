import { isLaunched } from '../../os/processes/launch.js';
import { reapOrphans } from '../../os/processes/orphans.js';
import type { GenerationProcess } from '../process/generation-process.js';

/**
 * What process 1 of a container owes it: the ends of processes that nobody waits for are collected.
 * @param generations all that live.
 * @returns ends that.
 */
export function beInit(generations: () => readonly GenerationProcess[]): () => void {
  // One that was adopted after an upgrade is a child of ours that Node knows nothing of: who adopted it collects it.
  const isOurs = (pid: number) => isLaunched(pid) || generations().some((one) => one.pid === pid);
  const look = () => void reapOrphans(isOurs);
  process.on('SIGCHLD', look);
  look();
  return () => process.off('SIGCHLD', look);
}
