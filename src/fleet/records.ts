import * as v from 'valibot';
import { FLEET_PROTOCOL, MAX_LABELS } from './limits.js';
import { markSchema, nameSchema, releaseSchema, rollSchema } from './roll/roll.js';

/*
 * The values in the buckets. Unknown fields are ignored, so later releases may add some; a protocol that is higher means that
 * what is there cannot be understood without them.
 */

const count = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(Number.MAX_SAFE_INTEGER));
const text = (max: number) => v.pipe(v.string(), v.maxLength(max));
const protocol = v.pipe(count, v.maxValue(FLEET_PROTOCOL));
const action = v.picklist(['restart', 'withdraw', 'undo']);

/** What a host is told. */
export const orderSchema = v.object({
  protocol,
  roll: text(64),
  serial: markSchema,
  action,
  epoch: markSchema,
  release: v.nullable(releaseSchema),
});

/** What became of the last instruction that a host obeyed. */
export const obeyedSchema = v.object({
  roll: text(64),
  serial: markSchema,
  action,
  epoch: markSchema,
  outcome: v.picklist([
    'running',
    'succeeded',
    'failed',
    'left-alone',
    'taking-back',
    'taken-back',
    'not-taken-back',
  ]),
  /** Why it failed. */
  reason: v.optional(text(600)),
  /** What served before the roll, and the id of its release, where that is known. */
  before: v.object({
    generation: count,
    /** Tells it from one of the same number in another life of the service. */
    process: v.optional(text(64)),
    release: v.nullable(releaseSchema),
  }),
  /** The service ended before the restart had, and was started from whatever its paths held: it has nothing to go back to. */
  isAnew: v.optional(v.boolean()),
  /** The release of the roll. */
  release: v.nullable(releaseSchema),
  /** The generation that the restart brought. */
  made: v.optional(count),
  /** The generation that served when it began to go back: one that took over since is what it went back to. */
  wentFrom: v.optional(count),
  /** When its history says that was, to know it by. */
  madeAt: v.optional(v.pipe(v.number(), v.finite())),
  /** Whether the deploy step has run. */
  isDeployed: v.optional(v.boolean()),
  /** How often it was begun: an agent may be killed in the middle. */
  times: v.optional(count),
});

/** What a host tells of itself and keeps. */
export const hostSchema = v.object({
  protocol,
  host: nameSchema,
  service: nameSchema,
  labels: v.pipe(
    v.record(text(64), text(64)),
    v.check((all) => Object.keys(all).length <= MAX_LABELS),
  ),
  /** Of moult. */
  version: text(64),
  /** Tells one host from another of the same name. */
  identity: text(64),
  hasDeploy: v.boolean(),
  /** The id of the release that the last roll brought; null where that is not known. */
  release: v.nullable(releaseSchema),
  /** It was stopped, and has said so. */
  hasLeft: v.optional(v.boolean()),
  obeyed: v.optional(obeyedSchema),
});

/** What a host tells of its health all the time. */
export const aliveSchema = v.object({
  protocol,
  identity: text(64),
  state: text(32),
  /** The generation that serves; 0 for none. */
  generation: count,
  /** What is running now, as its supervisor names it. */
  label: v.optional(text(1024)),
  connections: count,
  inFlight: count,
  /** What the generation that serves has measured: HTTP/1.1 requests, those of 5xx, and how long all took together. */
  requests: v.optional(count),
  errors: v.optional(count),
  durationSumMs: v.optional(v.pipe(v.number(), v.finite(), v.minValue(0))),
  restarts: count,
  crashes: count,
});

/** Who leads the rolls of a service. */
export const leaseSchema = v.object({
  protocol,
  /** It only grows. */
  epoch: markSchema,
  /** Null where nobody leads. */
  holder: v.nullable(text(200)),
  /** Makes each renewal another value. */
  beat: count,
  /** The revision of the roll after which there was nothing left to lead. */
  done: count,
});

export { rollSchema };

/** What a host is told. */
export type Order = v.InferOutput<typeof orderSchema>;
/** What became of it. */
export type ObeyedRecord = v.InferOutput<typeof obeyedSchema>;
/** What a host tells of itself. */
export type HostRecord = v.InferOutput<typeof hostSchema>;
/** What a host tells of its health. */
export type AliveRecord = v.InferOutput<typeof aliveSchema>;
/** Who leads. */
export type LeaseRecord = v.InferOutput<typeof leaseSchema>;

/** A value that was read, or why it means nothing here. */
export type Read<T> = { readonly value: T } | { readonly trouble: string };

/** How the trouble of a value begins that is not understood here. */
export const NEWER = 'it is from a newer moult';

/** What bytes of a bucket say; never throws, whoever wrote them. */
export function read<S extends v.GenericSchema>(
  schema: S,
  bytes: Uint8Array,
  maxBytes: number,
): Read<v.InferOutput<S>> {
  if (bytes.length > maxBytes) return { trouble: `it has ${bytes.length} bytes, the limit is ${maxBytes}` };
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    return { trouble: 'it is not JSON' };
  }
  const parsed = v.safeParse(schema, value);
  if (parsed.success) return { value: parsed.output };
  const theirs = (value as { protocol?: unknown } | null)?.protocol;
  if (typeof theirs === 'number' && theirs > FLEET_PROTOCOL)
    return { trouble: `${NEWER} (protocol ${theirs}, here ${FLEET_PROTOCOL})` };
  const [issue] = parsed.issues;
  return { trouble: `${v.getDotPath(issue) ?? 'the whole'}: ${issue.message.slice(0, 200)}` };
}
