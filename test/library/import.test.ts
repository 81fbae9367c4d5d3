import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { root, withFolder } from '../integration/supervised.js';

const nodes = [process.execPath, process.env.MOULT_TEST_NODE ?? ''].filter((path) => path !== '');
const script = join(root, 'test/fixtures/import-only.mjs');

/** What an import did, and the files of the package that it loaded, as the engine counted them. */
async function importing(
  what: string,
  node: string,
): Promise<{ told: Record<string, unknown>; loaded: string[] }> {
  let told: Record<string, unknown> = {};
  let loaded: string[] = [];
  await withFolder(async (folder) => {
    const env: NodeJS.ProcessEnv = { ...process.env, NODE_V8_COVERAGE: folder };
    for (const name of ['NODE_OPTIONS', 'NODE_TEST_CONTEXT']) delete env[name];
    const { status, stdout, stderr } = spawnSync(node, [script, what], {
      env,
      encoding: 'utf8',
      timeout: 20_000,
    });
    assert.equal(status, 0, stderr);
    assert.equal(stderr, '');
    told = JSON.parse(stdout) as Record<string, unknown>;
    const [file = ''] = readdirSync(folder);
    const { result } = JSON.parse(readFileSync(join(folder, file), 'utf8')) as { result: { url: string }[] };
    loaded = result
      .filter(({ url }) => url.startsWith('file:'))
      .map(({ url }) => relative(root, fileURLToPath(url)))
      .filter((path) => path !== relative(root, script));
  });
  return { told, loaded };
}

const NOTHING = { isHooked: false, handlers: [], isEnvironmentKept: true, resources: [], addons: [] };

for (const node of nodes) {
  describe(`importing, by ${node}`, () => {
    it('moult loads the public face alone, and starts nothing', async () => {
      const { told, loaded } = await importing('moult', node);
      const { names, ...changed } = told;
      assert.deepEqual(names, [
        'MOULT_VERSION',
        'MoultError',
        'atBoundary',
        'busy',
        'datagramFlows',
        'errorTable',
        'movable',
        'movableResponses',
        'openService',
      ]);
      assert.deepEqual(changed, NOTHING);
      const own =
        /^dist\/((index|errors|version)\.js|library\/(movable\/)?[a-z-]+\.js|os\/(files\/working-directory|clock)\.js|connections\/(moving\/movers|flows)\.js|lifecycle\/default-times\.js|protocol\/limits\.js|(broadcast|state|tasks)\/[a-z/-]+\.js|node\/(handle|http\/(http1|http2|request|response|standstill))\.js)$|^node_modules\/croner\//;
      assert.deepEqual(
        loaded.filter((path) => !own.test(path)),
        [],
      );
      assert.ok(loaded.includes('dist/library/open-service.js'), 'the files are seen');
    });

    for (const name of ['amqplib', 'bullmq', 'redis-pub-sub', 'redis-streams']) {
      it(`moult/${name} loads nothing of its client, and starts nothing`, async () => {
        const { told, loaded } = await importing(`moult/${name}`, node);
        const { names: _, ...changed } = told;
        assert.deepEqual(changed, NOTHING);
        assert.deepEqual(
          loaded.filter((path) => !/^dist\/(errors|consumers\/(redis\/)?[a-z-]+)\.js$/.test(path)),
          [],
        );
      });
    }

    it('moult/testing loads the stand-in, and what runs tasks, alone', async () => {
      const standIn =
        /^(dist\/(errors\.js|testing\/[a-z-]+\.js|library\/(declarations|declaring-service|broadcast|own-tasks)\.js|os\/clock\.js|protocol\/limits\.js|(broadcast|state|tasks)\/[a-z/-]+\.js)|node_modules\/croner\/.*)$/;
      const { told, loaded } = await importing('moult/testing', node);
      const { names, ...changed } = told;
      assert.deepEqual(names, ['StandIn', 'standIn']);
      assert.deepEqual(changed, NOTHING);
      assert.deepEqual(
        loaded.filter((path) => !standIn.test(path)),
        [],
      );
    });
  });
}
