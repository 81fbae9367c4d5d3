import * as v from 'valibot';
import { FLEET_PROTOCOL, MAX_HOSTS, MAX_MARK } from '../limits.js';
import { hostStates } from './host-states.js';
import { rollPhases } from './roll-phases.js';

const count = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(Number.MAX_SAFE_INTEGER));
const ms = v.pipe(v.number(), v.finite(), v.minValue(0));
const text = (max: number) => v.pipe(v.string(), v.maxLength(max));

/** The name of a host or of a service: what `moult run --name` takes. */
export const nameSchema = v.pipe(v.string(), v.regex(/^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$/));
/** The id of a release, as `--release` names it: it becomes a variable of the deploy step. */
export const releaseSchema = v.pipe(v.string(), v.regex(/^[A-Za-z0-9][A-Za-z0-9._:@/+-]{0,127}$/));

/** The number of a roll, or an epoch. */
export const markSchema = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(MAX_MARK));

const states = v.picklist(Object.keys(hostStates) as (keyof typeof hostStates)[]);
const phases = v.picklist(Object.keys(rollPhases) as (keyof typeof rollPhases)[]);

const hostOfRoll = v.object({
  state: states,
  /** Why it failed, or could not be taken back. */
  reason: v.optional(text(600)),
  /** It is confirmed, and has fallen silent since: it counts as unavailable. */
  isSilent: v.optional(v.boolean()),
});

/** What a roll may do, as its operator wanted it. */
export const termsSchema = v.object({
  /** How many hosts may restart or be unknown at one time. */
  maxUnavailable: v.pipe(count, v.minValue(1)),
  onFailure: v.picklist(['undo', 'stop']),
  /** How long the canaries are watched after they are confirmed. */
  watchForMs: ms,
  /** A host that has not come to its result by then is unknown. */
  hostTimeoutMs: ms,
  /** How much higher the share of 5xx responses of the canaries may be than that of the rest. */
  maxErrorRate: v.pipe(v.number(), v.minValue(0), v.maxValue(1)),
  /** How many times as long their requests may take on average. */
  maxSlowdown: v.pipe(v.number(), v.minValue(1)),
});

const rollEntries = v.object({
  protocol: v.pipe(count, v.maxValue(FLEET_PROTOCOL)),
  id: text(64),
  /** Each roll of a service has the next number. */
  serial: v.pipe(markSchema, v.minValue(1)),
  service: nameSchema,
  /** The release that hosts are to deploy first; null where they restart what their paths hold. */
  release: v.nullable(releaseSchema),
  /** Who began it, for people. */
  by: text(128),
  /** When, by the clock of whoever began it, for people: milliseconds since 1970. */
  startedAt: v.number(),
  /** When it ended, by the clock of its last leader, for people. */
  endedAt: v.optional(v.number()),
  /** Of the leader that wrote it last: it only grows. */
  epoch: markSchema,
  phase: phases,
  /** The wave that is under way, from 0 on. */
  wave: count,
  /** The first wave are canaries. */
  hasCanaries: v.boolean(),
  /** Whether the canaries have been watched for their time. */
  isWatched: v.boolean(),
  waves: v.pipe(
    v.array(v.pipe(v.array(nameSchema), v.minLength(1), v.maxLength(MAX_HOSTS))),
    v.maxLength(MAX_HOSTS),
  ),
  hosts: v.pipe(
    v.record(nameSchema, hostOfRoll),
    v.check((hosts) => Object.keys(hosts).length <= MAX_HOSTS, `more than ${MAX_HOSTS} hosts`),
  ),
  terms: termsSchema,
  /** What an operator asked for, until the leader has heard it. */
  asked: v.nullable(v.picklist(['pause', 'resume', 'abort', 'undo'])),
  /** Why it failed, was stopped or undone. */
  reason: v.optional(text(800)),
});

/** A roll as it is in the bucket. */
export const rollSchema = v.pipe(
  rollEntries,
  v.check(({ waves, hosts }) => {
    const names = waves.flat();
    return names.length === Object.keys(hosts).length && names.every((name) => Object.hasOwn(hosts, name));
  }, 'each host belongs to one wave'),
  v.check(({ waves, wave }) => wave < Math.max(1, waves.length), 'there is no such wave'),
);

/** A roll: its plan, its terms, and how far each host is. */
export type Roll = v.InferOutput<typeof rollSchema>;
/** What a roll may do. */
export type Terms = v.InferOutput<typeof termsSchema>;
/** What an operator may ask of a roll. */
export type Asked = NonNullable<Roll['asked']>;
