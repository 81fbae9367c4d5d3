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

/** Has workers finish their requests and end, then calls back; at once where there are none. */
export function endWorkers(then: () => void): void {
  if (hasWorkers()) cluster.disconnect(then);
  else then();
}
