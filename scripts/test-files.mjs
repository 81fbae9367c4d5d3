// `node scripts/test-files.mjs <how many at once> <milliseconds for each> <files>`: runs test files in this order, which
// `node --test` does not keep. Part of scripts/test.mjs.
import process from 'node:process';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import reporter from './test-reporter.mjs';

const [atOnce, fileMs, ...files] = process.argv.slice(2);
const over = new AbortController();
const { signal } = over;
// The files that run are ended too.
for (const name of ['SIGINT', 'SIGTERM']) process.once(name, () => over.abort());
const events = run({ files, concurrency: Number(atOnce), timeout: Number(fileMs), signal });
events.on('test:fail', ({ todo }) => {
  if (todo === undefined || todo === false) process.exitCode = 1;
});
// On a terminal Node's own reporter tells at the end what failed.
events.compose(process.stdout.isTTY ? new spec() : reporter).pipe(process.stdout);
