import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { cli, runNode, withFolder } from '../integration/supervised.js';

const unreadable = `--import=data:text/javascript,${encodeURIComponent(`
  import fs from 'node:fs';
  import { syncBuiltinESMExports } from 'node:module';
  const { readFileSync } = fs;
  fs.readFileSync = (...args) => {
    if (String(args[0]).includes('/commander/lib/')) throw Object.assign(new Error('EIO: read'), { code: 'EIO' });
    return readFileSync(...args);
  };
  syncBuiltinESMExports();
`)}`;

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
        const { code, stderr } = await runNode([unreadable, cli, 'run', 'service.js'], env);
        assert.equal(code, 1, stderr);
        assert.match(stderr, /could not be loaded, and ends as it was asked to: .*EIO/);
      }
    });
  });
});
