/*
 * What a supervisor sends to an operator, and how any message is read. In a file of its own: a command makes these schemas alone, for
 * all those of messages.ts take it as long as its question and the answer.
 */
import * as v from 'valibot';
import { MoultError } from '../errors.js';
import type { Frame } from './frame.js';

/** A number of things. */
export const count = v.pipe(v.number(), v.integer(), v.minValue(0));
/** A time in milliseconds. */
export const ms = v.pipe(v.number(), v.finite(), v.minValue(0));
/** A text of at most so many characters. */
export const text = (max: number) => v.pipe(v.string(), v.maxLength(max));

/** An error as it travels. */
export const errorReport = v.object({
  code: text(64),
  message: text(16_384),
  serving: v.optional(text(32)),
  stage: v.optional(text(32)),
  retry: v.optional(v.boolean()),
  remedy: v.optional(text(1024)),
  details: v.optional(v.record(v.string(), v.unknown())),
});

export const greeting = v.object({
  protocol: v.object({ min: count, max: count }),
  role: v.picklist(['supervisor', 'predecessor']),
  moult: text(64),
  pid: count,
  /** Whether the sender takes messages in parts. */
  parts: v.optional(v.boolean()),
});
export const refused = v.object({ error: errorReport });
export const event = v.object({ event: v.record(v.string(), v.unknown()) });
export const result = v.object({
  ok: v.boolean(),
  error: v.optional(errorReport),
  value: v.optional(v.record(v.string(), v.unknown())),
});

export const part = v.object({});
export const whole = v.object({
  /** How long the JSON is that came in the attachments of the parts. */
  bytes: count,
  /** How many descriptors came beside them. */
  count,
});

const parts = { part, whole } as const;
/** Those that a supervisor sends to an operator: a command makes no others, for that takes it some milliseconds. */
export const toOperators = { greeting, refused, event, result } as const;

type Parsed<Schemas extends Readonly<Record<string, v.GenericSchema>>> = {
  [K in keyof Schemas]: { readonly type: K } & v.InferOutput<Schemas[K]>;
}[keyof Schemas];

/** The message that is a part of another, or its end. @throws MOULT_PROTOCOL_FRAME */
export function parsePart(frame: Frame): Parsed<typeof parts> {
  return parsedBy(parts, frame) as Parsed<typeof parts>;
}

/** The message that a frame holds, of those that an operator is sent. @throws MOULT_PROTOCOL_FRAME, also for any other. */
export function parseToOperator(frame: Frame): Parsed<typeof toOperators> {
  return parsedBy(toOperators, frame) as Parsed<typeof toOperators>;
}

/** The message that a frame holds, by one of these schemas. @throws MOULT_PROTOCOL_FRAME for another type, or a field that does not fit. */
export function parsedBy(
  known: Readonly<Record<string, v.GenericSchema<unknown, object>>>,
  frame: Frame,
): { type: string } {
  const { type } = frame.message;
  if (!Object.hasOwn(known, type)) {
    throw new MoultError(
      'MOULT_PROTOCOL_FRAME',
      `expected a message of protocol 1, received type ${JSON.stringify(type.slice(0, 64))}`,
    );
  }
  const schema = known[type] as v.GenericSchema<unknown, object>;
  const parsed = v.safeParse(schema, frame.message);
  if (!parsed.success) {
    const issue = parsed.issues[0];
    throw new MoultError(
      'MOULT_PROTOCOL_FRAME',
      `message ${type}: field ${v.getDotPath(issue) ?? '(whole)'}: ${issue.message.slice(0, 200)}`,
    );
  }
  return { type, ...parsed.output };
}
