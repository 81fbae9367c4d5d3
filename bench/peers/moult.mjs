import { readFileSync } from 'node:fs';
import { startUnderMoult } from '../measure/under-moult.mjs';
import { childrenOf } from './process-tree.mjs';

/** Short, so that the predecessor is gone about as early as those of the others. */
const PROBATION_MS = 400;

/** @type {import('./server.mjs').PeerKind} */
export const moult = {
  name: 'moult restart',
  prepare: () => JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')).version,
  async start() {
    const service = await startUnderMoult({}, ['--probation', `${PROBATION_MS}ms`], 'peer-service.mjs');
    const serving = () => childrenOf(service.supervisorPid);
    return {
      port: service.port,
      serving,
      all: () => [service.supervisorPid, ...serving()],
      restart: service.restart,
      stop: service.stop,
    };
  },
};
