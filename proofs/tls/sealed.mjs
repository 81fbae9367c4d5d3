import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const log = pathToFileURL(path.join(import.meta.dirname, 'log-sealed.mjs'));

/** What has a service log the records that its TLS connections seal. @param folder is made. */
export function sealedInto(folder) {
  mkdirSync(folder, { recursive: true });
  return { SEALED: folder, NODE_OPTIONS: `--import=${log}` };
}

/**
 * What all processes have sealed: how many records, of those how many by OpenSSL before a move, by how many processes, how many
 * keys were used by OpenSSL and by moult, and which key and number came twice.
 */
export function sealedIn(folder) {
  const seen = new Map();
  const by = { moved: new Set(), openssl: new Set() };
  const processes = new Set();
  const twice = [];
  let [records, native] = [0, 0];
  for (const file of readdirSync(folder)) {
    const [pid, kind] = file.split('.');
    processes.add(pid);
    for (const pair of readFileSync(path.join(folder, file), 'latin1').split('\n')) {
      if (pair === '') continue;
      records += 1;
      if (kind === 'openssl') native += 1;
      by[kind].add(pair.split(' ', 1)[0]);
      if (seen.has(pair)) twice.push(`${pair} was sealed by ${seen.get(pair)} and by ${file}`);
      seen.set(pair, file);
    }
  }
  const handedOver = [...by.openssl].filter((key) => by.moved.has(key)).length;
  return { records, native, handedOver, processes: processes.size, twice };
}
