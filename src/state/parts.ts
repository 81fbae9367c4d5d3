import { serialize } from 'node:v8';
import { asMoultError, MoultError } from '../errors.js';
import type { Parts } from './state-entry.js';

/** A part, or the end. */
export type Step = ReturnType<Parts['next']>;

/** The bytes of a part of this piece. @throws MOULT_STATE_FAILED for what cannot be cloned. */
export function encodePart(name: string, part: unknown): Buffer {
  try {
    return serialize(part);
  } catch (cause) {
    const { message } = asMoultError(cause, 'MOULT_STATE_FAILED');
    throw new MoultError('MOULT_STATE_FAILED', `state ${name} cannot be cloned: ${message}`, { cause });
  }
}

/**
 * The bytes of the next part; undefined at the end. In the place of a part that cannot be cloned go those that the piece has
 * instead.
 * @throws MOULT_STATE_FAILED where it has none.
 */
export async function sendable(
  name: string,
  parts: Parts,
  from: Step,
): Promise<{ readonly bytes: Buffer } | undefined> {
  for (let step = from; !step.done; ) {
    const part = await step.value;
    try {
      return { bytes: encodePart(name, part) };
    } catch (cause) {
      step = parts.throw(cause);
    }
  }
  return undefined;
}

/** Says what state is lost. */
export function warn(message: string): void {
  process.emitWarning(message, 'MoultWarning');
}
