// A copy of a folder of this repository as a release of its own. What runs in place has the whole repository as its release,
// with all installed packages: moult looks at thousands of files of code whenever it starts one, or asks whether it changed.
import { cpSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

/**
 * @param name of the folder, such as `examples`.
 * @param into an empty folder: beside the copy, it gets links to the packages that the repository has, to moult itself, and
 *   to the scripts.
 * @returns the copy.
 */
export function ownRelease(name, into) {
  const packages = join(into, 'node_modules');
  mkdirSync(packages, { recursive: true });
  for (const entry of readdirSync(join(root, 'node_modules')))
    if (!entry.startsWith('.')) symlinkSync(join(root, 'node_modules', entry), join(packages, entry));
  symlinkSync(root, join(packages, 'moult'));
  symlinkSync(join(root, 'scripts'), join(into, 'scripts'));
  const copy = join(into, name);
  cpSync(join(root, name), copy, { recursive: true });
  writeFileSync(join(copy, 'package.json'), '{ "private": true }\n');
  return copy;
}
