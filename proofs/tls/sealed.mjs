import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const log = pathToFileURL(path.join(import.meta.dirname, 'log-sealed.mjs'));

/** What has a service log the records that its moved TLS connections seal. @param folder is made. */
export function sealedInto(folder) {
  mkdirSync(folder, { recursive: true });
  return { SEALED: folder, NODE_OPTIONS: `--import=${log}` };
}

/** What all processes have sealed: how many records, by how many processes, and which key and number came twice. */
export function sealedIn(folder) {
  const seen = new Map();
  const twice = [];
  let records = 0;
  const processes = readdirSync(folder);
  for (const pid of processes) {
    for (const pair of readFileSync(path.join(folder, pid), 'latin1').split('\n')) {
      if (pair === '') continue;
      records += 1;
      if (seen.has(pair)) twice.push(`${pair} was sealed by ${seen.get(pair)} and by ${pid}`);
      seen.set(pair, pid);
    }
  }
  return { records, processes: processes.length, twice };
}
