// Plays random handovers, undos and kills with the model of test/handover/owned-once.test.ts, and each single thing that may
// come in between in the usual ones: what was acknowledged comes to pass once. A failure names its seed.
// node proofs/owned-once.mjs [--sequences n] [--seed n]
import { spawnSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { numberOf } from './nodes.mjs';

const { values } = parseArgs({
  options: { sequences: { type: 'string', default: '3000' }, seed: { type: 'string' } },
});
const MOULT_SEQUENCES = String(numberOf('--sequences', values.sequences, 100_000));
const MOULT_SEED = values.seed ?? String(randomInt(1, 1_000_000));
process.stdout.write(`seeds from ${MOULT_SEED} on\n`);
const { status } = spawnSync(process.execPath, ['scripts/test.mjs', 'handover/owned-once'], {
  cwd: fileURLToPath(new URL('..', import.meta.url)),
  env: { ...process.env, MOULT_SEQUENCES, MOULT_SEED },
  stdio: 'inherit',
});
process.exitCode = status ?? 1;
