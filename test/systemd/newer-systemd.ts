import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { root } from '../integration/supervised.js';

const PACKAGES = ['systemd', 'libsystemd0', 'libsystemd-shared'];
/** Outlives the build. */
const KEPT = path.join(root, 'node_modules/.cache/moult-systemd');

/**
 * The files of a newer systemd than this machine's, to be laid over /usr in a lab, fetched once from the backports
 * of this machine's own Debian mirror. Nothing is installed.
 * @returns undefined where there is none.
 */
export function newerSystemd(): string | undefined {
  const usr = path.join(KEPT, 'usr');
  if (existsSync(usr)) return usr;
  const work = `${KEPT}.new`;
  try {
    rmSync(work, { recursive: true, force: true });
    fetchInto(work);
    mkdirSync(path.dirname(KEPT), { recursive: true });
    renameSync(work, KEPT);
    return usr;
  } catch {
    rmSync(work, { recursive: true, force: true });
    return undefined;
  }
}

function fetchInto(work: string): void {
  for (const folder of ['lists', 'cache', 'packages', 'files'])
    mkdirSync(path.join(work, folder), { recursive: true });
  writeFileSync(path.join(work, 'sources.list'), backports());
  const options = {
    'Dir::Etc::sourcelist': path.join(work, 'sources.list'),
    'Dir::Etc::sourceparts': '/dev/null',
    'Dir::State::lists': path.join(work, 'lists'),
    'Dir::Cache': path.join(work, 'cache'),
  };
  const own = Object.entries(options).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
  const packages = path.join(work, 'packages');
  execFileSync('apt-get', [...own, 'update'], { stdio: 'pipe', timeout: 60_000 });
  execFileSync('apt-get', [...own, 'download', ...PACKAGES], {
    stdio: 'pipe',
    cwd: packages,
    timeout: 120_000,
  });
  const files = path.join(work, 'files');
  for (const name of readdirSync(packages))
    execFileSync('dpkg-deb', ['-x', path.join(packages, name), files], { stdio: 'pipe' });
  const usr = path.join(work, 'usr');
  renameSync(path.join(files, 'usr'), usr);
  // The package's /lib is /usr/lib where both are one.
  for (const name of ['lib', 'bin', 'sbin'])
    if (existsSync(path.join(files, name)))
      cpSync(path.join(files, name), path.join(usr, name), { recursive: true });
}

// As this machine gets its own packages, but of the suite that has newer ones.
function backports(): string {
  const format = '$(REPO_URI) $(RELEASE)';
  const text = execFileSync('apt-get', ['indextargets', '--format', format, 'Created-By: Packages'], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const known = text.split('\n').map((line) => line.split(' '));
  const [uri, release] = known.find(([, name = '']) => /^[a-z]+$/.test(name)) ?? [];
  if (uri === undefined) throw new Error('this machine knows no package mirror');
  return `deb ${uri} ${release}-backports main\n`;
}
