import { http1Moves } from '../node/self-test.js';
import type { Settings } from '../protocol/messages.js';
import { tlsMoves } from '../tls/self-test.js';
import type { Moves } from './generation-context.js';

/** Why nothing moves before the self-tests are over. */
export const NOT_TESTED = 'its self-test is not over';

/** Finds out which kinds of connections can move in this process; those over TLS only where they are asked for. */
export async function testMoves({ tls }: Pick<Settings, 'tls'>): Promise<Moves> {
  const http1 = await http1Moves();
  if (tls !== 'move') return { http1 };
  return { http1, tls: http1 === 'yes' ? await tlsMoves() : http1 };
}
