// Loaded before a service (`node --import`): appends each record that its TLS connections seal to files of its process, in the
// folder that SEALED names: of moved connections to one, of those that are still OpenSSL's to another.

import { subscribe } from 'node:diagnostics_channel';
import { appendFileSync } from 'node:fs';
import path from 'node:path';
import { watchNative } from './log-native.mjs';

// At once: what a process has sealed before it is killed counts.
const logTo = (kind) => {
  const file = path.join(process.env.SEALED, `${process.pid}.${kind}`);
  return (key, sequence) => appendFileSync(file, `${key} ${sequence}\n`);
};
const moved = logTo('moved');
subscribe('moult.tls.sealed', ({ key, sequence }) => moved(key, sequence));
watchNative(logTo('openssl'));
