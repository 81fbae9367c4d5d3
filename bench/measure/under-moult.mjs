import { rmSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { program, runNode, startListening, stopChild, temporaryFolder } from './processes.mjs';

const CLI = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const NAME = 'bench';

/**
 * Starts bench/programs/service.mjs under `moult run`, in a run folder of its own.
 * @param {Readonly<Record<string, string>>} [env]
 * @param {readonly string[]} [options] of `moult run`
 * @param {string} [service] another file of bench/programs
 */
export async function startUnderMoult(env = {}, options = [], service = 'service.mjs') {
  const folder = temporaryFolder('moult-bench-');
  const runEnv = { ...env, XDG_RUNTIME_DIR: folder };
  const args = [CLI, 'run', '--name', NAME, '--log', 'warn', ...options, '--', program(service)];
  const started = await startListening(args, runEnv).catch((error) => {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  });

  const status = async () => {
    const { code, stdout, stderr } = await runNode([CLI, 'status', NAME, '--json'], runEnv);
    if (code !== 0) throw new Error(`moult status failed: ${stderr}`);
    return JSON.parse(stdout);
  };
  return {
    port: started.port,
    /** The first generation's process. */
    pid: started.pid,
    supervisorPid: started.child.pid ?? -1,
    output: started.output,
    /** With which commands find it. */
    env: runEnv,
    status,
    /** Restarts it: the summary of `moult restart --json`, when it committed (milliseconds since 1970), and the process. */
    async restart() {
      const { code, stdout, stderr } = await runNode([CLI, 'restart', NAME, '--json'], runEnv);
      const lines = stdout.split('\n').filter((line) => line !== '');
      const events = lines.map((line) => JSON.parse(line));
      const last = events.at(-1);
      if (code !== 0 || last?.ok !== true) throw new Error(`moult restart failed: ${stderr}${stdout}`);
      const event = (/** @type {string} */ name) => events.find(({ stage }) => stage === name);
      return {
        ...last.summary,
        events,
        committedAt: Number(event('commit').at),
        successorPid: Number(event('spawn').facts.pid),
      };
    },
    /** Waits until one generation is left, and gives its process. */
    async alone() {
      for (let tries = 0; tries < 200; tries += 1) {
        const { generations } = await status();
        if (generations.length === 1 && generations[0].state === 'serving') return generations[0].pid;
        await pause(50);
      }
      throw new Error('the predecessor did not end');
    },
    async stop() {
      await stopChild(started.child, 'SIGTERM');
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
