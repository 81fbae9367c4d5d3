import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const INSTALL = fileURLToPath(new URL('../../scripts/debian-packages.mjs', import.meta.url));

/** Installs Debian packages where they are missing. Throws, and says what to install, where it cannot. @param {readonly string[]} packages */
export function install(...packages) {
  execFileSync(process.execPath, [INSTALL, ...packages], { stdio: ['ignore', 'ignore', 'inherit'] });
}

/** The version of an installed package. @param {string} name */
export function versionOf(name) {
  const line = execFileSync('/usr/bin/dpkg-query', ['--show', name], { encoding: 'utf8' });
  return line.trim().split('\t')[1] ?? '';
}
