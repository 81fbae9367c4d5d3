import { realpathSync } from 'node:fs';
import { isAbsolute } from 'node:path';

/** The working directory as the shell named it, so that a symlink in it can be switched later. */
export function namedWorkingDirectory(env: NodeJS.ProcessEnv = process.env): string {
  const named = env.PWD;
  const real = process.cwd();
  try {
    if (named && isAbsolute(named) && realpathSync(named) === real) return named;
  } catch {
    // It names something that is no longer there.
  }
  return real;
}
