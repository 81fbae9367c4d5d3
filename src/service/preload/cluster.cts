/*
 * What moult changes of node:cluster, and what it has to tell of it. CommonJS and without any import of moult's own, as the preload is.
 */
const cluster: typeof import('node:cluster').default = require('node:cluster');

/**
 * Has the primary accept for its workers, whatever the service asks for: with SCHED_NONE it would bind a socket on which only
 * workers listen, and each of them would take clients before this generation may.
 */
function acceptInPrimary(): void {
  let asked = cluster.schedulingPolicy;
  let isTold = false;
  Object.defineProperty(cluster, 'schedulingPolicy', {
    configurable: true,
    enumerable: true,
    // Read by Node when the first worker is forked. Source: node lib/internal/cluster/primary.js, setupPrimary.
    get() {
      if (asked === cluster.SCHED_NONE && !isTold) {
        isTold = true;
        process.emitWarning(
          'NODE_CLUSTER_SCHED_POLICY=none and cluster.SCHED_NONE do not apply under moult: the primary accepts, and gives ' +
            'connections to its workers in turn (SCHED_RR), so that its listeners can be handed over',
          'MoultWarning',
        );
      }
      return cluster.SCHED_RR;
    },
    set(policy: number) {
      asked = policy;
    },
  });
}

/** Tells, once, of datagram sockets that workers share, for those do not change hands. */
function tellOfDatagrams(): void {
  let isTold = false;
  cluster.on('listening', (_worker, { address, port, addressType }) => {
    // Source: Node.js documentation, cluster, event 'listening'.
    if (isTold || !String(addressType).startsWith('udp')) return;
    isTold = true;
    process.emitWarning(
      `workers of node:cluster receive datagrams at ${address ?? '*'}:${port}; moult cannot hand that over: the new release finds ` +
        'the address in use, and nobody receives there after the old one has exited. Bind it in the primary, or use --slots ' +
        'instead of node:cluster',
      'MoultWarning',
    );
  });
}

module.exports = { acceptInPrimary, tellOfDatagrams };
