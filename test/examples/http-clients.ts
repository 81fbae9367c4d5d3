import { Agent, get } from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';
import { startLoad } from '../support/load.js';
import { PACE } from '../support/pace.js';
import { type Clients, inLoops, Tally } from './tally.js';

/** The strict clients of `moult verify`, and one that reads who answers. */
export function httpClients(port: number): Clients {
  const tally = new Tally();
  const clients = { 'kept-alive': 6, pipelined: 2, 'slow-body': 2, 'new-connection': 2 };
  const load = startLoad({ target: { host: '127.0.0.1', port }, clients, thinkMs: 20 * PACE });
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const reader = inLoops(1, tally, async () => {
    await pause(10 * PACE);
    tally.answered(await body(port, agent));
  });
  return {
    tally,
    async stop() {
      await reader.stop();
      agent.destroy();
      const { total, failures } = await load.stop();
      for (const failure of failures.slice(0, 5)) tally.failed(JSON.stringify(failure));
      const { failed, lost, duplicated, answered } = total;
      if (failed + lost + duplicated > 0 || answered === 0) tally.failed(JSON.stringify(total));
    },
  };
}

function body(port: number, agent: Agent): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = get({ host: '127.0.0.1', port, agent }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk) => {
        text += chunk;
      });
      response.on('end', () => resolve(text));
      response.on('error', reject);
    });
    request.on('error', reject);
  });
}
