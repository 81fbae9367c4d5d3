import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { describe, it } from 'node:test';
import { root, runNode } from './supervised.js';

interface Found {
  readonly problems: readonly string[];
  readonly clients: Readonly<Record<string, { readonly answered: number; readonly told: number }>>;
}

const hasH2load = spawnSync('h2load', ['--version']).status === 0;
const skip = hasH2load ? false : "h2load is not installed (Debian's package nghttp2-client)";

// The same as the slow proof, proofs/http2.mjs, with fewer of everything.
describe('three restarts under clients of HTTP/2', () => {
  const clientsOf = {
    compat: ['node:http2', 'h2load'],
    'core-tls': ['node:http2', 'h2load'],
    grpc: ['grpc-js'],
  };
  for (const [service, clients] of Object.entries(clientsOf)) {
    it(`fail no call of ${service}`, { skip: service === 'grpc' ? false : skip }, async () => {
      const script = path.join(root, 'proofs/http2.mjs');
      const options = ['--service', service, '--restarts', '3', '--sessions', '2'];
      const { NODE_TEST_CONTEXT: _, ...env } = process.env;
      const { stdout, stderr } = await runNode(
        [script, '--json', '--node', process.execPath, ...options],
        env,
      );
      assert.equal(stderr, '');
      const [found] = JSON.parse(stdout) as Found[];
      assert.deepEqual(found?.problems, []);
      assert.deepEqual(Object.keys(found?.clients ?? {}), clients);
      for (const { answered } of Object.values(found?.clients ?? {})) assert.ok(answered > 100);
    });
  }
});
