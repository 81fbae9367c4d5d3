import { spawn } from 'node:child_process';
import type { Writable } from 'node:stream';

/** How much of its output is told when it fails. */
const TOLD_CHARACTERS = 300;
/** How long it may take to end after its time, before it is killed. */
const GRACE_MS = 5000;
const LOOK_MS = 20;

/**
 * A shell that reads from the agent, in the group of the command: where the agent has ended without a word it ends them all. It
 * holds nothing of the command's, so that nobody waits for it.
 */
const GUARDED = '(read -r over <&3 || kill -KILL 0) >/dev/null 2>&1 & exec 3<&- /bin/sh -c "$1"';
const RELEASE = 'over\n';

/** The deploy step of a host. */
export interface DeployStep {
  /** A shell command. */
  readonly command: string;
  readonly folder: string;
  readonly timeoutMs: number;
}

/**
 * Runs it; the release is told in MOULT_RELEASE and MOULT_SERVICE, never as a part of the command. Where this process is killed,
 * the command ends with it: the next agent runs it again, and never beside itself.
 * @param why in MOULT_DEPLOY: `restart` before the restart, `undo` where a release is brought back.
 * @throws why it failed, with the end of its output.
 */
export function runDeployStep(
  { command, folder, timeoutMs }: DeployStep,
  service: string,
  release: string,
  why: 'restart' | 'undo',
): Promise<void> {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, MOULT_RELEASE: release, MOULT_SERVICE: service, MOULT_DEPLOY: why };
    // A group of its own: what it has started ends with it.
    const child = spawn('/bin/sh', ['-c', GUARDED, '/bin/sh', command], {
      cwd: folder,
      env,
      stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
      detached: true,
    });
    // Without descriptors for its pipes Node makes none, and says so by an event.
    const guard = (child.stdio as typeof child.stdio | undefined)?.[3] as Writable | null | undefined;
    guard?.on('error', () => {});
    let output = '';
    let isLate = false;
    const hear = (bytes: Buffer) => {
      output = (output + bytes.toString('utf8')).slice(-4 * TOLD_CHARACTERS);
    };
    child.stdout?.on('data', hear);
    child.stderr?.on('data', hear);
    /** @returns whether any of it was left. */
    const end = (name: NodeJS.Signals | 0): boolean => {
      try {
        return child.pid !== undefined && process.kill(-child.pid, name);
      } catch {
        return false;
      }
    };
    const limit = setTimeout(() => {
      isLate = true;
      end('SIGTERM');
      // The shell may be gone long before what it has started.
      const killAtMs = performance.now() + GRACE_MS;
      const looking = setInterval(() => {
        const isLeft = end(performance.now() > killAtMs ? 'SIGKILL' : 0);
        if (isLeft && performance.now() < killAtMs + GRACE_MS) return;
        clearInterval(looking);
        over(`took longer than ${timeoutMs / 1000} s`);
      }, LOOK_MS);
    }, timeoutMs);
    const over = (failure: string | undefined) => {
      clearTimeout(limit);
      guard?.end(RELEASE);
      child.stdout?.destroy();
      child.stderr?.destroy();
      if (failure === undefined) return resolve();
      const last = output.trim().slice(-TOLD_CHARACTERS);
      reject(new Error(`the deploy step ${failure}${last === '' ? '' : `: ${last}`}`));
    };
    child.once('error', (error) => over(`could not be started: ${error.message}`));
    child.once('exit', (code, signal) => {
      if (isLate) return;
      if (code === 0) over(undefined);
      else over(code === null ? `was ended by ${signal}` : `exited with status ${code}`);
    });
  });
}
