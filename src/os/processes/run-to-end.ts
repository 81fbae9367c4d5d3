import type { Readable } from 'node:stream';
import { type Launch, launch } from './launch.js';
import type { Exit } from './process.js';

/** How long what a process said before its end may take to be read. */
const LAST_WORDS_MS = 1000;

/** How a process is run that says something and ends. */
export interface RunTerms {
  /** It is killed when it takes longer than this. */
  readonly timeoutMs: number;
  /** How many characters of each of its outputs are kept; of the first, whole chunks until there are so many. */
  readonly keep: number;
  /** Which of them are kept, where it writes more. */
  readonly kept: 'first' | 'last';
  /** How many descriptors more it has from its first moment, which are of no use to it (default: 0). */
  readonly taken?: number;
}

/** What became of a process that was run to its end. */
export interface RunResult {
  readonly exit: Exit;
  /** Whether it was killed because it took too long. */
  readonly isLate: boolean;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a process until it ends, or takes too long. A process of its own that it leaves behind is not waited for. */
export async function runToEnd(what: Launch, { timeoutMs, keep, kept, taken }: RunTerms): Promise<RunResult> {
  const child = launch(what, taken);
  const outputs = [child.stdout, child.stderr].map((stream) => collected(stream, keep, kept));
  let isLate = false;
  const late = setTimeout(() => {
    isLate = true;
    child.kill();
  }, timeoutMs);
  const exit = await child.exited;
  clearTimeout(late);
  const [stdout = '', stderr = ''] = await Promise.all(outputs.map((output) => output()));
  return { exit, isLate, stdout, stderr };
}

function collected(stream: Readable | null, keep: number, kept: RunTerms['kept']): () => Promise<string> {
  let text = '';
  stream?.setEncoding('utf8').on('data', (chunk: string) => {
    if (kept === 'last') text = (text + chunk).slice(-keep);
    else if (text.length < keep) text += chunk;
  });
  const over = new Promise<void>((resolve) => {
    if (stream === null) resolve();
    stream?.once('close', resolve);
  });
  return async () => {
    // What a process of its own has left open holds the pipe, and is not waited for.
    let limit: NodeJS.Timeout | undefined;
    const enough = new Promise<void>((resolve) => {
      limit = setTimeout(resolve, LAST_WORDS_MS);
    });
    await Promise.race([over, enough]);
    clearTimeout(limit);
    stream?.destroy();
    return text;
  };
}
