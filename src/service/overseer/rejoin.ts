import type { Channel } from '../../channel/channel.js';
import { type Introduction, type Opening, openWhenGreeted } from '../../channel/open.js';
import type { Settings } from '../../protocol/messages.js';

/** The first and the longest wait between two tries to reach a supervisor. */
const FIRST_MS = 100;
const LONGEST_MS = 1000;

/** A channel to a supervisor, and its standard output and error. */
export interface Rejoined {
  readonly channel: Channel;
  readonly output: number[];
  /** What it says now; another one than before may know less. */
  readonly settings: Settings;
}

/**
 * Tries until a supervisor answers at one of these paths, without ever blocking the service or keeping it alive.
 * @param introduce what to say of oneself at that moment.
 * @param isOver asked before each try.
 * @returns undefined when it was over before.
 */
export async function rejoin(
  paths: readonly string[],
  introduce: () => Introduction,
  isOver: () => boolean,
): Promise<Rejoined | undefined> {
  for (let waitMs = FIRST_MS; ; waitMs = Math.min(LONGEST_MS, waitMs * 1.5)) {
    await new Promise<void>((resolve) => {
      setTimeout(resolve, waitMs).unref();
    });
    if (isOver()) return undefined;
    const opening = await openAny(paths, introduce);
    if (opening === undefined) continue;
    if (isOver()) {
      opening.abandon();
      return undefined;
    }
    try {
      const { message, incoming } = opening.hear('welcome');
      return { output: incoming.take(), channel: opening.toChannel(), settings: message.settings };
    } catch {
      // Refused, or gone again.
      opening.abandon();
    }
  }
}

async function openAny(
  paths: readonly string[],
  introduce: () => Introduction,
): Promise<Opening | undefined> {
  for (const path of paths) {
    const opening = await openWhenGreeted(path, introduce);
    if (opening !== undefined) return opening;
  }
  return undefined;
}
