import { deserialize, serialize } from 'node:v8';
import { asMoultError, MoultError } from '../errors.js';
import { MAX_HEARD } from '../protocol/limits.js';
import { isOfBroker } from './feed-senders.js';

/** The most bytes that one message may have. What a frame can carry is not less. */
export const MAX_MESSAGE_BYTES = 4 * 1024 * 1024;

/** The last message of each sender that has been dealt with here: what follows is news. */
export type Positions = Map<string, number>;

/** A message that was broadcast. */
export interface BroadcastMessage {
  /** The process that sent it, and its number among all messages of that process, from 1. */
  readonly origin: string;
  readonly seq: number;
  /** The name under which it was sent. */
  readonly topic: string;
  readonly payload: Buffer;
  /** Of what came from a broker outside, from which other generations have copies: after which mark. */
  readonly fed: string | undefined;
}

/**
 * A value as the bytes of a message.
 * @throws MOULT_BAD_OPTION for what no other process can have; MOULT_DATA_TOO_LARGE.
 */
export function encodeMessage(topic: string, value: unknown): Buffer {
  let bytes: Buffer;
  try {
    bytes = serialize(value);
  } catch (cause) {
    throw new MoultError(
      'MOULT_BAD_OPTION',
      `broadcast ${topic}: expected what structuredClone takes: ${(cause as Error).message}`,
      { cause },
    );
  }
  if (bytes.length <= MAX_MESSAGE_BYTES) return bytes;
  throw new MoultError(
    'MOULT_DATA_TOO_LARGE',
    `broadcast ${topic}: expected a message of at most ${MAX_MESSAGE_BYTES} bytes, received one of ${bytes.length}; nothing was sent`,
  );
}

/** @throws MOULT_PROTOCOL_FRAME */
export function decodeMessage({ payload }: BroadcastMessage): unknown {
  try {
    return deserialize(payload);
  } catch (cause) {
    throw asMoultError(cause, 'MOULT_PROTOCOL_FRAME');
  }
}

/** Whether these positions are past a message. */
export function includes(positions: Positions, { origin, seq }: BroadcastMessage): boolean {
  return (positions.get(origin) ?? 0) >= seq;
}

/** Positions as a message has them. Where there are more than fit, marks of long ago are left out. */
export function listOf(positions: Positions): { origin: string; seq: number }[] {
  let tooMany = positions.size - MAX_HEARD;
  return [...positions].flatMap(([origin, seq]) => {
    if (tooMany > 0 && isOfBroker(origin)) {
      tooMany -= 1;
      return [];
    }
    return [{ origin, seq }];
  });
}

export function positionsOf(heard: readonly { origin: string; seq: number }[]): Positions {
  return new Map(heard.map(({ origin, seq }) => [origin, seq]));
}
