import { isMainThread, Worker, workerData } from 'node:worker_threads';

/**
 * Runs one part of a test file in a thread of its own. The test runner follows every promise of the main thread: a model
 * that makes millions of them is five times as fast without.
 * @param file the URL of a module that asks {@link askedOfThread} which part it is to run.
 * @throws what was thrown there.
 */
export async function inThread(file: string, part: string): Promise<void> {
  const thread = new Worker(new URL(file), { workerData: { part } });
  const code = await new Promise<number>((resolve, reject) => {
    thread.once('error', reject).once('exit', resolve);
  });
  if (code !== 0) throw new Error(`the thread of "${part}" ended with code ${code}`);
}

/** Which part of the file this thread is to run; undefined in the main thread. */
export function askedOfThread(): string | undefined {
  return isMainThread ? undefined : (workerData as { part: string }).part;
}
