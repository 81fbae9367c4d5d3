import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** A certificate authority of a test, a server's certificate from it, and a client's over an intermediate one. */
export interface Authority {
  readonly ca: string;
  readonly server: { readonly key: string; readonly cert: string };
  /** `cert` is the client's with the intermediate one; it names where its issuer can be asked (AIA). */
  readonly client: { readonly key: string; readonly cert: string };
}

/** Makes them with openssl in a folder. */
export function makeAuthority(folder: string): Authority {
  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' });
  const ec = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  const own = ['req', '-x509', ...ec, '-days', '2'];
  openssl(...own, '-subj', '/CN=test root', '-keyout', 'ca.key', '-out', 'ca.pem');
  const issue = (name: string, subject: string, by: string, ...extensions: string[]) => {
    const added = extensions.flatMap((extension) => ['-addext', extension]);
    openssl(
      ...own,
      ...['-subj', subject, '-CA', `${by}.pem`, '-CAkey', `${by}.key`],
      ...['-keyout', `${name}.key`, '-out', `${name}.pem`, ...added],
    );
  };
  issue(
    'server',
    '/CN=localhost',
    'ca',
    'subjectAltName=DNS:localhost,IP:127.0.0.1',
    'basicConstraints=CA:FALSE',
  );
  issue('between', '/CN=test intermediate', 'ca');
  issue(
    'client',
    '/O=tests/CN=client',
    'between',
    'authorityInfoAccess=OCSP;URI:http://ocsp.test/,caIssuers;URI:http://ca.test/between',
    'extendedKeyUsage=clientAuth',
    'basicConstraints=CA:FALSE',
  );
  const read = (name: string) => readFileSync(join(folder, name), 'utf8');
  return {
    ca: read('ca.pem'),
    server: { key: read('server.key'), cert: read('server.pem') },
    client: { key: read('client.key'), cert: read('client.pem') + read('between.pem') },
  };
}
