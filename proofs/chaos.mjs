// A night of chaos: a service under moult and strict clients, and one thing after the other that goes wrong around it.
//   node proofs/chaos.mjs [--minutes 60] [--seed N] [--steps n] [--slots n]… [--operation NAME]… [--trouble NAME]… [--verbose]
// (--slots 0 is a service without slots; only those that are named are taken.) The seed is printed, and gives the same sequence of actions again. An oracle knows which requests may fail: those on
// connections of a process that was killed. Everything else is unexplained, and the exit code is 1. As root it needs
// mounts of its own, and starts itself in a mount namespace; else the disk is not filled.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '60' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    steps: { type: 'string' },
    slots: { type: 'string', multiple: true },
    operation: { type: 'string', multiple: true },
    trouble: { type: 'string', multiple: true },
    verbose: { type: 'boolean', default: false },
  },
});

if (process.geteuid() === 0 && process.env.MOULT_CHAOS_MOUNTS === undefined) {
  const words = [
    process.execPath,
    fileURLToPath(import.meta.url),
    ...process.argv.slice(2),
    '--seed',
    values.seed,
  ];
  const env = { ...process.env, MOULT_CHAOS_MOUNTS: 'own' };
  const { status } = spawnSync('unshare', ['-m', ...words], { stdio: 'inherit', env });
  process.exitCode = status ?? 1;
} else {
  const { runChaos } = await import('../test/fixtures/faults/chaos.mjs');
  const { unexplained } = await runChaos({
    seed: Number(values.seed),
    minutes: Number(values.minutes),
    steps: values.steps === undefined ? Number.POSITIVE_INFINITY : Number(values.steps),
    say: (text) => process.stdout.write(`${text}\n`),
    isVerbose: values.verbose,
    only: {
      slots: values.slots?.map((n) => Number(n) || undefined),
      operations: values.operation,
      troubles: values.trouble,
    },
  });
  process.exitCode = unexplained.length === 0 ? 0 : 1;
}
