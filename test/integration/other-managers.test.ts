import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { fixture, withService } from './supervised.js';

const conventions = {
  'pm2.cjs': ['PM2: ready by message, ended by SIGINT', ['--wait-ready']],
  'pm2-message.cjs': ['PM2: ended by a message', ['--wait-ready']],
  'naught.cjs': ['naught: online and shutdown', ['--wait-ready']],
  'http.cjs': ['nobody: ended by SIGTERM', []],
} as const;

describe('a service that was written for another manager', () => {
  for (const [script, [convention, waits]] of Object.entries(conventions)) {
    it(`restarts and stops unchanged under moult run, by the conventions of ${convention}`, async () => {
      const runOptions = [...waits, '--probation', '100ms', '--ready-timeout', '5s'];
      let first = 0;
      let second = 0;
      await withService({ command: [fixture(script)], runOptions }, async (service) => {
        first = (await service.current()).pid as number;
        await service.restart();
        await service.writes(new RegExp(`pool of ${first} closed`));
        await service.alone();
        second = (await service.current()).pid as number;
        assert.notEqual(second, first);
        await service.stop();
        assert.match(service.stdout, new RegExp(`pool of ${second} closed`));
        assert.deepEqual(
          service.log().filter((line) => /killed|ended with|failed/.test(line)),
          [],
        );
      });
    });
  }

  it('is asked by the stop signal alone where it has a handler for that', async () => {
    const command = [fixture('pm2.cjs')];
    const runOptions = ['--wait-ready', '--stop-signal', 'SIGINT'];
    await withService({ command, runOptions }, async (service) => {
      const { pid } = await service.current();
      await service.stop();
      assert.match(service.stdout, new RegExp(`pool of ${pid} closed`));
    });
  });
});
