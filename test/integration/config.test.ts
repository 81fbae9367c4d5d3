import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { it } from 'node:test';
import { temporaryFolder } from '../support/temporary-folder.js';
import { Supervised, until } from './supervised.js';

const SERVICE = `const fails = process.env.FAILS === 'later';
  require('node:http').createServer((_, response) => response.end(process.env.GREETING)).listen(0, () => {
    // Well before the end of its probation.
    if (fails) setTimeout(() => process.exit(1), 300);
  });`;

function get(target: { host: string; port: number }): Promise<string> {
  return new Promise((resolve, reject) => {
    request({ ...target, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      response.once('end', () => resolve(text));
    })
      .once('error', reject)
      .end();
  });
}

it('has what its config file says, reads it at each restart, and serves on where that cannot hold', async (t) => {
  const folder = temporaryFolder((end) => t.after(end));
  const write = (config: object | string) =>
    writeFileSync(
      join(folder, 'moult.config.mjs'),
      typeof config === 'string' ? config : `export default ${JSON.stringify(config)}`,
    );
  writeFileSync(join(folder, 'one.cjs'), SERVICE);
  writeFileSync(
    join(folder, 'two.cjs'),
    SERVICE.replace('process.env.GREETING', '"two " + $&'.replace('$&', 'process.env.GREETING')),
  );
  const first = { command: 'one.cjs', env: { GREETING: 'hello' }, probation: '300ms', busyTimeout: 9 };
  write(first);
  const service = await Supervised.start({ command: [], cwd: folder, runOptions: ['--busy-timeout', '8s'] });
  t.after(() => service.kill());
  const target = await service.target();
  const held = async () => {
    const { stdout } = await service.moult('config', 'service', '--no-config', '--json');
    const { options } = JSON.parse(stdout) as { options: { key: string; value: unknown; from: string }[] };
    return (key: string) => options.find((one) => one.key === key);
  };
  const answers = async (text: string) => assert.equal(await get(target), text);
  await answers('hello');
  let of = await held();
  assert.deepEqual(of('probation'), { key: 'probation', value: '300ms', from: 'file' });
  assert.deepEqual(of('busyTimeout'), { key: 'busyTimeout', value: '8 s', from: 'command line' });
  assert.deepEqual(of('drainTimeout'), { key: 'drainTimeout', value: '30 s', from: 'default' });

  // Command, environment, check and times change at a restart.
  const second = { ...first, command: ['two.cjs'], env: { GREETING: 'bonjour' }, check: '/', log: 'debug' };
  write(second);
  await service.restart('--wait=confirmed');
  await answers('two bonjour');
  of = await held();
  assert.deepEqual(of('check'), { key: 'check', value: '/', from: 'file' });

  // What cannot hold refuses the restart, and changes nothing.
  for (const [config, code, message] of [
    ['export default {', 'MOULT_CONFIG_FAILED', /Unexpected/],
    [{ ...second, probaton: 1 }, 'MOULT_CONFIG_FAILED', /did you mean probation/],
    [{ ...second, command: 'missing.cjs', probation: 99 }, 'MOULT_BAD_OPTION', /missing\.cjs/],
    [{ ...second, listen: '8080', probation: 99 }, 'MOULT_CONFIG_NEEDS_START', /cannot change listen/],
    [{ ...second, slots: 2 }, 'MOULT_CONFIG_NEEDS_START', /cannot change slots \(on or off\)/],
    [{ ...second, sticky: 'address' }, 'MOULT_BAD_OPTION', /--sticky needs --slots/],
    // It is valid, and its release fails: what held before holds on.
    [{ ...second, check: 'exec:exit 1', checkRetries: 0, probation: 99 }, 'MOULT_CHECK_FAILED', /check/],
  ] as const) {
    write(config);
    const error = await service.failingRestart();
    assert.equal(error.code, code, error.message);
    assert.ok(['predecessor', 'unchanged'].includes(error.serving), error.serving);
    assert.match(error.message, message);
    await answers('two bonjour');
    of = await held();
    assert.equal(of('probation')?.value, '300ms', JSON.stringify(config));
  }

  // Undone in its probation: who serves has what it had.
  write({ ...second, env: { GREETING: 'bad', FAILS: 'later' }, probation: '20s' });
  await service.restart();
  await service.logs(/undone|serves again/);
  await until('what held before holds', async () => (await held())('probation')?.value === '300ms');
  await answers('two bonjour');

  // An upgrade goes on with what holds, whatever the file has by now.
  write('export default {');
  const upgrade = await service.moult('upgrade', 'service');
  assert.equal(upgrade.code, 0, upgrade.stderr);
  await answers('two bonjour');
  of = await held();
  assert.deepEqual(of('check'), { key: 'check', value: '/', from: 'file' });
  write({ ...second, env: { GREETING: 'ciao' }, probation: '400ms' });
  const { stdout } = await service.moult('config', '--json', '--config', join(folder, 'moult.config.mjs'));
  assert.match(stdout, /"does not|"isRunning":false|"next"/);
  await service.restart('--wait=confirmed');
  await answers('two ciao');
  await service.stop();
});
