// Loaded before a service (`node --import`): appends each record that moved TLS connections seal to a file of its process,
// in the folder that SEALED names.

import { subscribe } from 'node:diagnostics_channel';
import { appendFileSync } from 'node:fs';
import path from 'node:path';

const file = path.join(process.env.SEALED, String(process.pid));
// At once: what a process has sealed before it is killed counts.
subscribe('moult.tls.sealed', ({ key, sequence }) => appendFileSync(file, `${key} ${sequence}\n`));
