import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'node:test';
import { freePort } from '../support/free-ports.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { fixture, processesWith, Supervised, until } from './supervised.js';

it('the settings of a fleet in a config are in no arguments, and their password is not shown', async (t) => {
  const cwd = temporaryFolder((end) => t.after(end));
  const fleet = {
    servers: `nats://user:s3cret@127.0.0.1:${await freePort()}`,
    host: 'web-1',
    deploy: './d3ploy',
  };
  const config = { command: fixture('http.mjs'), fleet };
  writeFileSync(join(cwd, 'moult.config.mjs'), `export default ${JSON.stringify(config)}`);
  const service = await Supervised.start({ command: [], cwd, env: { PORT: '0' } });
  t.after(() => service.kill());
  await service.logs(/cannot reach its fleet/);
  const agent = await until('its agent runs', () =>
    processesWith(service.mark).find(({ command }) => command.includes(' fleet agent ')),
  );
  assert.ok(
    readFileSync(`/proc/${agent.pid}/environ`, 'utf8').includes('s3cret'),
    'it has them all the same',
  );
  for (const { command } of processesWith(service.mark)) assert.doesNotMatch(command, /s3cret|d3ploy/);
  assert.doesNotMatch(service.output, /s3cret/);
  for (const args of [['--json'], ['--no-config', '--json'], ['--no-config']]) {
    const { code, stdout } = await service.moult('config', 'service', ...args);
    assert.equal(code, 0);
    assert.match(stdout, /nats:\/\/127\.0\.0\.1:/);
    assert.doesNotMatch(stdout, /s3cret/);
  }
  const status = await service.asks({ type: 'status', config: true });
  assert.doesNotMatch(JSON.stringify(status), /s3cret/);
  await service.stop();
});
