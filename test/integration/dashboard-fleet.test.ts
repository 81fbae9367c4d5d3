import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe } from 'node:test';
import { connect } from '@nats-io/transport-node';
import { FleetLooks } from '#moult/cli/fleet/show/fleet-now.js';
import { checked } from '#moult/fleet/settings.js';
import { brokerOf, started } from '../support/brokers.js';
import { lacksServer } from '../support/message-service.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { tidy } from '../support/tidy.js';
import { cli, until, within } from './supervised.js';

const broker = await brokerOf('nats');

describe('looking at a fleet', { skip: lacksServer(broker) }, () => {
  tidy('ends with the dashboard that shows it', async (later) => {
    const { url } = await started(broker, later);
    const witness = await connect({ servers: url });
    later(() => witness.close());
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      const env: NodeJS.ProcessEnv = {
        ...process.env,
        MOULT_FLEET: url,
        XDG_RUNTIME_DIR: temporaryFolder(later),
      };
      delete env.NODE_OPTIONS;
      delete env.NODE_TEST_CONTEXT;
      // Its first call to the server tells that it is connected.
      let hasLooked = false;
      const heard = witness.subscribe('$JS.API.>', {
        callback: () => {
          hasLooked = true;
        },
      });
      const child = spawn(process.execPath, [cli, 'dashboard'], {
        env,
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const ended = once(child, 'exit');
      later(async () => {
        child.kill('SIGKILL');
        await ended;
      });
      let output = '';
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        output += text;
      });
      await until('it is served, and looks', () => hasLooked && output.includes('Ctrl-C'));
      heard.unsubscribe();
      child.kill(signal);
      assert.deepEqual(await within('moult dashboard ends', ended, 10_000), [0, null]);
    }
  });

  tidy('leaves no connection that was on its way', async (later) => {
    const { url } = await started(broker, later);
    const looks = new FleetLooks(checked({ servers: url }, 'here', '/'));
    const look = looks.look().catch(() => {});
    await looks.end();
    await look;
    await assert.rejects(looks.look());
  });
});
