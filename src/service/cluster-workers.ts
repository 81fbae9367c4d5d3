import cluster from 'node:cluster';

/** Whether processes of node:cluster serve for this one. */
function hasWorkers(): boolean {
  return cluster.isPrimary && Object.keys(cluster.workers ?? {}).length > 0;
}

/** Tells, once and when the first worker is forked, what a restart does to what workers accept. */
export function tellOfWorkers(): void {
  const tell = () =>
    process.emitWarning(
      'workers of node:cluster accept for this service: after a restart new clients reach the new generation, but the ' +
        'connections of workers do not move: they end with their worker, at the latest after --stop-timeout, and ' +
        'a client that sends on one in that moment loses the request. With --slots instead of node:cluster they move',
      'MoultWarning',
    );
  if (hasWorkers()) tell();
  else if (cluster.isPrimary) cluster.once('fork', tell);
}

/**
 * Has workers finish their requests and end, then calls back; at once where there are none. What `cluster.disconnect` is given
 * is called when the first of them has exited. Source: node lib/internal/cluster/primary.js, removeWorker.
 */
export function endWorkers(then: () => void): void {
  const workers = Object.values(cluster.workers ?? {}).filter((worker) => worker?.isDead() === false);
  if (!cluster.isPrimary || workers.length === 0) {
    then();
    return;
  }
  let alive = workers.length;
  const ended = () => {
    alive -= 1;
    if (alive === 0) then();
  };
  for (const worker of workers) worker?.process.once('exit', ended);
  cluster.disconnect();
}
