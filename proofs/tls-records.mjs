// Clients that make their own records, good and bad ones by seeds, talk to Node's own TLS and to moult's record layer:
// what is read, refused, and told must be the same, on each version of Node and with each cipher.
// node proofs/tls-records.mjs [--seeds n] [--from n] [--nodes 20,22,24,26]
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { expectOneOf, installNode, numberOf, VERSIONS } from './nodes.mjs';

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '3000' },
    from: { type: 'string', default: '1' },
    nodes: { type: 'string', default: Object.keys(VERSIONS).join(',') },
    here: { type: 'boolean', default: false },
  },
});
const seeds = numberOf('--seeds', values.seeds, 1_000_000);
const from = numberOf('--from', values.from, 9_000_000);

if (values.here) await playHere();
else await playOnEach();

async function playOnEach() {
  const nodes = values.nodes.split(',');
  expectOneOf('--nodes', nodes, Object.keys(VERSIONS));
  const root = fileURLToPath(new URL('..', import.meta.url));
  execFileSync(process.execPath, ['scripts/build.mjs'], { cwd: root, stdio: ['ignore', 2, 2] });
  execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'test'], {
    cwd: root,
    stdio: 'inherit',
  });
  for (const node of nodes) {
    const args = [fileURLToPath(import.meta.url), '--here', '--seeds', values.seeds, '--from', values.from];
    const child = spawn(installNode(VERSIONS[node]), args, { stdio: 'inherit' });
    const [status] = await once(child, 'exit');
    if (status !== 0) process.exitCode = 1;
  }
}

async function playHere() {
  const { playBoth } = await import('../build/test/tls/differential.js');
  const { makeAuthority } = await import('../build/test/tls/authority.js');
  const { listenKnown } = await import('../build/test/tls/move-here.js');
  const { TLS13_CIPHERS } = await import('../dist/tls/state/tls-state.js');
  const folder = mkdtempSync(join(tmpdir(), 'moult-tls-records-'));
  const authority = makeAuthority(folder);
  for (const cipher of TLS13_CIPHERS) {
    const undoListener = [];
    const listener = await listenKnown((undo) => undoListener.push(undo), {
      ...authority.server,
      ciphers: cipher,
    });
    const count = { refused: 0, ended: 0, reset: 0, different: 0 };
    for (let seed = from; seed < from + seeds; seed += 1) {
      const undos = [];
      try {
        const { outcome, wasReset } = await playBoth((undo) => undos.push(undo), listener, seed);
        if (outcome.error === undefined) count.ended += 1;
        else count.refused += 1;
        if (wasReset) count.reset += 1;
      } catch (error) {
        count.different += 1;
        process.exitCode = 1;
        process.stdout.write(`${process.version} ${cipher}: ${error.message}\n`);
      }
      for (const undo of undos) await undo();
    }
    for (const undo of undoListener) await undo();
    process.stdout.write(
      `${process.version} (OpenSSL ${process.versions.openssl}) ${cipher}: ${seeds} clients, ${count.different} different; ` +
        `${count.refused} refused with the same error, ${count.ended} read to their end, ${count.reset} reset before the alert\n`,
    );
  }
  rmSync(folder, { recursive: true });
}
