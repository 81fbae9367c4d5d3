import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A key and a certificate for this run, made with openssl. */
export function selfSigned() {
  const folder = mkdtempSync(join(tmpdir(), 'moult-bench-'));
  const ec = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  const made = [
    'req',
    '-x509',
    ...ec,
    '-days',
    '1',
    '-subj',
    '/CN=localhost',
    '-keyout',
    'key',
    '-out',
    'cert',
  ];
  execFileSync('openssl', made, { cwd: folder, stdio: 'pipe' });
  const [key, cert] = ['key', 'cert'].map((name) => readFileSync(join(folder, name)));
  rmSync(folder, { recursive: true });
  return { key, cert };
}
