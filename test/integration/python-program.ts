import { existsSync } from 'node:fs';
import path from 'node:path';
import { root } from './supervised.js';

export const PYTHON = '/usr/bin/python3';
/** A server in Python; what its next release is like is written into the file that it is given. */
export const SERVER = path.join(root, 'test/fixtures/programs/server.py');
/** Why tests with it are skipped here, or false. */
export const skip = existsSync(PYTHON) ? false : 'needs python3 (Debian: apt-get install python3)';
