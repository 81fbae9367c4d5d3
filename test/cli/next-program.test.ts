import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { cli, runNode, withFolder } from '../integration/supervised.js';
import { unreadablePackage } from '../support/unreadable.js';

describe('the next program of a supervisor that cannot load', () => {
  it('ends when it was asked to, after its quick tries', async () => {
    await withFolder(async (folder) => {
      for (const signal of ['SIGTERM', 'SIGINT']) {
        const env = {
          ...process.env,
          XDG_RUNTIME_DIR: folder,
          MOULT_UPGRADE: '{}',
          MOULT_BEGUN: `99 ${signal}`,
        };
        const { code, stderr } = await runNode([unreadablePackage(), cli, 'run', 'service.js'], env);
        assert.equal(code, 1, stderr);
        assert.match(stderr, /could not be loaded, and ends as it was asked to: .*EIO/);
      }
    });
  });
});
