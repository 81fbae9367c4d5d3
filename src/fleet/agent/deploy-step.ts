import { spawn } from 'node:child_process';

/** How much of its output is told when it fails. */
const TOLD_CHARACTERS = 300;
/** How long it may take to end after its time, before it is killed. */
const GRACE_MS = 5000;

/** The deploy step of a host. */
export interface DeployStep {
  /** A shell command. */
  readonly command: string;
  readonly folder: string;
  readonly timeoutMs: number;
}

/**
 * Runs it; the release is told in MOULT_RELEASE and MOULT_SERVICE, never as a part of the command.
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
    const child = spawn('/bin/sh', ['-c', command], {
      cwd: folder,
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    let output = '';
    let isLate = false;
    const hear = (bytes: Buffer) => {
      output = (output + bytes.toString('utf8')).slice(-4 * TOLD_CHARACTERS);
    };
    child.stdout.on('data', hear);
    child.stderr.on('data', hear);
    const end = (name: NodeJS.Signals) => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, name);
      } catch {
        // It has just ended.
      }
    };
    let killing: NodeJS.Timeout | undefined;
    const limit = setTimeout(() => {
      isLate = true;
      end('SIGTERM');
      killing = setTimeout(() => end('SIGKILL'), GRACE_MS);
    }, timeoutMs);
    const over = (failure: string | undefined) => {
      clearTimeout(limit);
      clearTimeout(killing);
      child.stdout.destroy();
      child.stderr.destroy();
      if (failure === undefined) return resolve();
      const last = output.trim().slice(-TOLD_CHARACTERS);
      reject(new Error(`the deploy step ${failure}${last === '' ? '' : `: ${last}`}`));
    };
    child.once('error', (error) => over(`could not be started: ${error.message}`));
    child.once('exit', (code, signal) => {
      if (isLate) over(`took longer than ${timeoutMs / 1000} s`);
      else if (code === 0) over(undefined);
      else over(code === null ? `was ended by ${signal}` : `exited with status ${code}`);
    });
  });
}
