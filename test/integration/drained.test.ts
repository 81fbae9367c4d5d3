import assert from 'node:assert/strict';
import path from 'node:path';
import { describe, it } from 'node:test';
import { nothingLost, strictLoad } from './strict-load.js';
import { fixture, root, until, withService } from './supervised.js';

const unmovable = path.join(root, 'test/fixtures/unmovable.cjs');

describe('HTTP/1.1 connections on a Node on which they cannot move', () => {
  it('are drained with no request failed or lost, also of clients that pipeline', async () => {
    const command = ['node', '--require', unmovable, fixture('http.mjs')];
    await withService({ command, runOptions: ['--probation', '100ms'] }, async (service) => {
      const load = strictLoad(await service.target(), { 'kept-alive': 12, pipelined: 12, 'slow-body': 4 });
      const runs = async (answered: number) =>
        until('the load goes on', () => load.snapshot().total.answered > answered + 500);
      await runs(0);
      for (let restart = 0; restart < 2; restart += 1) {
        const { moved, drainedBecause } = await service.restart();
        assert.equal(moved, 0);
        assert.match(drainedBecause ?? '', /was taken for receiving/);
        await runs(load.snapshot().total.answered);
        await service.alone();
      }
      await nothingLost(load);
    });
  });
});
