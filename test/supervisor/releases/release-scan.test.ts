import assert from 'node:assert/strict';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe } from 'node:test';
import { scanRelease } from '#moult/supervisor/releases/release-scan.js';
import { temporaryFolder } from '../../support/temporary-folder.js';
import { type Later, tidy } from '../../support/tidy.js';

/** What a release of these files shares, and whether each of the others is copied. */
async function sharedOf(later: Later, paths: readonly string[]): Promise<readonly string[]> {
  const root = temporaryFolder(later);
  for (const path of ['package.json', 'server.js', ...paths]) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), '1');
  }
  const { copied, shared } = (await scanRelease(root, [])) ?? { copied: [], shared: [] };
  const isShared = (path: string) => shared.some((one) => path === one || path.startsWith(`${one}/`));
  const isCopied = (path: string) => copied.some((one) => one.path === path);
  for (const path of paths) assert.notEqual(isCopied(path), isShared(path), path);
  return [...shared].sort();
}

describe('what is copied of a release', () => {
  tidy('is each folder with code, in whatever language, and no folder with data alone', async (later) => {
    const paths = ['pages/index.php', 'jobs/run.pl', 'lib/app.jar', 'notes/1.txt'];
    assert.deepEqual(await sharedOf(later, paths), ['notes']);
  });

  tidy(
    'is code in folders that are named as data: modules, built ones, routes, of packages',
    async (later) => {
      const paths = [
        ...['src/db/index.js', 'src/db/pool/pg.cjs', 'src/db/migrations/1.sql', 'src/cache/redis.mjs'],
        ...['src/data/countries.json', 'src/index.js', 'src/log/native.node', 'src/uploads/router.ts'],
        ...[
          'dist/cache/lru.js',
          'dist/data/countries.json',
          'dist/run/a/b/c.js',
          'dist/uploads/uploads.module.js',
        ],
        ...['.next/server/app/data/page.js', '.next/server/app/cache/page.js', 'build/storage/s3.js'],
        ...['packages/db/package.json', 'packages/db/index.js', 'packages/storage/package.json'],
        ...['packages/storage/index.js', 'db/index.js', 'db/models/user.js', 'database/seeds/1.sql'],
        ...['cache/index.mjs', 'log/index.js', 'data/products.js', 'public/data/map.js'],
      ];
      assert.deepEqual(await sharedOf(later, paths), []);
    },
  );

  tidy('is no data: at the top of a package, where clients get it, and beside code', async (later) => {
    const paths = [
      ...[
        'data/users.json',
        'db/dev.sqlite3',
        'storage/lodash/package.json',
        'uploads/sent.js',
        'tmp/a/b.js',
      ],
      ...['public/uploads/sent.js', 'public/uploads/a.json', 'public/index.html', 'static/cache/1.json'],
      ...['.next/cache/swc/plugin.wasm', '.next/BUILD_ID', '.cache/loader/1.json', 'sessions/1.json'],
      ...['src/index.js', 'src/uploads/form.json', 'dist/index.js', 'dist/logs/1.txt', 'src/db/app.sqlite'],
      ...[
        'src/db/index.js',
        'cache/index.js',
        'cache/1.json',
        'cache/blobs/1.bin',
        'log/index.js',
        'log/app.log',
      ],
      ...['apps/api/package.json', 'apps/api/main.js', 'apps/api/data/users.json', 'coverage/prettify.js'],
    ];
    assert.deepEqual(
      await sharedOf(later, paths),
      [
        ...['data', 'db', 'storage', 'uploads', 'tmp', 'public/uploads', 'static/cache', '.next/cache'],
        ...['.cache', 'sessions', 'src/uploads', 'dist/logs', 'src/db/app.sqlite', 'cache/1.json'],
        ...['cache/blobs', 'log/app.log', 'apps/api/data', 'coverage'],
      ].sort(),
    );
  });

  tidy('is nothing that a service installs into its data', async (later) => {
    const paths = [
      'data/package.json',
      'data/settings.js',
      'data/flows.json',
      'data/node_modules/x/index.js',
    ];
    assert.deepEqual(await sharedOf(later, paths), ['data']);
  });

  tidy('is a link to a folder, not what is in it', async (later) => {
    const root = temporaryFolder(later);
    mkdirSync(join(root, 'src'));
    writeFileSync(join(root, 'src/index.js'), '1');
    symlinkSync('/var/lib/app', join(root, 'src/data'));
    const scan = await scanRelease(root, []);
    assert.deepEqual(
      [scan?.copied.map(({ path }) => path), scan?.shared],
      [['src', 'src/data', 'src/index.js'], []],
    );
  });
});
