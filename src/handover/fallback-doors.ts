import type { Channel } from '../channel/channel.js';
import { openWhenGreeted } from '../channel/open.js';

/** Where generations let fallbacks in: those that take what one tells if the one that it tells is gone. */
export interface FallbackDoors {
  /** Where this generation does. */
  readonly own: string;
  /** Where those do that still tell this generation what changes there. */
  earlier(): string[];
  /** Comes to a generation as a fallback. @returns undefined where nobody is there. */
  open(door: string): Promise<Channel | undefined>;
}

/**
 * The doors of a generation under its overseer.
 * @param own asked each time: the path of its own. @param tellers have told this generation where they let fallbacks in.
 */
export function fallbackDoors(
  generation: number,
  own: { readonly path: string },
  ...tellers: readonly { readonly earlierDoors: string[] }[]
): FallbackDoors {
  return {
    own: own.path,
    earlier: () => tellers.flatMap(({ earlierDoors }) => earlierDoors),
    open: async (door) =>
      (await openWhenGreeted(door, () => ({ role: 'fallback', generation })))?.toChannel(),
  };
}
