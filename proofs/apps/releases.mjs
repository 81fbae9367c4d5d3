// The releases of an application: two good ones, alike but in folders of their own, and two broken ones.
import { execFileSync } from 'node:child_process';
import { mkdirSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';

const BROKEN = {
  throws: (real) => `throw new Error('broken on purpose, instead of ${path.basename(real)}');\n`,
  dies: (real) => `setTimeout(() => process.exit(3), 2500);\nimport(${JSON.stringify(real)});\n`,
};

/** Makes them below `folder`. `script` is the path to run, and `deploy(name)` lets it lead to a release. */
export function makeReleases(app, installed, folder) {
  const releases = path.join(folder, 'releases');
  const current = path.join(folder, 'current');
  mkdirSync(releases);
  for (const name of ['one', 'two']) copy(installed, path.join(releases, name));
  const real = path.join(releases, 'one/node_modules', app.bin);
  for (const [name, text] of Object.entries(BROKEN)) {
    const script = path.join(releases, name, 'node_modules', app.bin);
    mkdirSync(path.dirname(script), { recursive: true });
    writeFileSync(script, text(real));
  }
  return {
    script: path.join(current, 'node_modules', app.bin),
    deploy: (name) => {
      symlinkSync(path.join(releases, name), `${current}.next`);
      renameSync(`${current}.next`, current);
    },
  };
}

/** Folders of their own, with the same files: some have 10,000, which take minutes to copy and to remove. */
function copy(from, to) {
  try {
    execFileSync('cp', ['-al', from, to], { stdio: 'ignore' });
  } catch {
    execFileSync('cp', ['-a', `${from}/.`, to]); // Another file system, which hard links cannot reach.
  }
}
