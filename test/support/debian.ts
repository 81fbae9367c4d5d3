import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { root } from '../integration/supervised.js';

/**
 * Installs a package of Debian where it is missing.
 * @returns why it cannot be installed here, as the reason to skip a test; false when it is there.
 */
export function lacks(name: string): string | false {
  const script = path.join(root, 'scripts/debian-packages.mjs');
  const { status, stderr } = spawnSync(process.execPath, [script, name], { encoding: 'utf8' });
  if (status === 2) return stderr.trim();
  if (status !== 0) throw new Error(stderr);
  return false;
}
