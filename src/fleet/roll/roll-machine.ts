import { MAX_VALUE_BYTES } from '../limits.js';
import { type Action, type HostEvent, hostStates, isUnavailable, isUnderWay, told } from './host-states.js';
import type { Roll } from './roll.js';
import { type RollEvent, rollPhases } from './roll-phases.js';

/*
 * What a roll does next. It knows no NATS and no clock: what happened comes in, the next state of the roll goes out. What hosts
 * are to be told follows from the state alone, so a leader that knows nothing but the state can go on.
 */

/** What a leader has seen. */
export type Happened =
  | { readonly type: 'host'; readonly host: string; readonly event: Report; readonly reason?: string }
  /** The canaries have been watched for their time; a reason says what was wrong with them. */
  | { readonly type: 'watched'; readonly reason?: string };

/** What is seen of a host; what it is told the machine decides itself. */
export type Report = Exclude<HostEvent, 'order' | 'withdraw' | 'undo'>;

/** The roll after these have happened, and after what an operator asked for; the same object where nothing changes. Pure. */
export function advance(roll: Roll, happened: readonly Happened[]): Roll {
  const next: Draft = { ...roll, hosts: { ...roll.hosts } };
  heed(next);
  for (const one of happened) take(next, one);
  settle(next);
  return isSame(roll, next) ? roll : next;
}

/** What each host is to be told now; of the others nothing was asked. */
export function ordersOf({ hosts }: Roll): ReadonlyMap<string, Action> {
  const orders = new Map<string, Action>();
  for (const [host, { state }] of Object.entries(hosts)) {
    const action = told[state];
    if (action !== undefined) orders.set(host, action);
  }
  return orders;
}

/** So long a reason of one host may be. */
const MAX_REASON = 600;
/** So many bytes the reasons of all hosts may have together: the rest of a roll of {@link MAX_HOSTS} hosts has less than the other half. */
const MAX_REASONS_BYTES = MAX_VALUE_BYTES / 2;

type Draft = { -readonly [K in keyof Roll]: Roll[K] };

function take(roll: Draft, happened: Happened): void {
  if (happened.type === 'host') {
    const { host, event, reason } = happened;
    const before = roll.hosts[host]?.state;
    if (!toHost(roll, host, event, reason)) return;
    if (event === 'failed') fails(roll, `${host} failed${reason === undefined ? '' : `: ${reason}`}`);
    const isCanary = roll.hasCanaries && roll.waves[0]?.includes(host);
    const isLost = before === 'ordered' || before === 'running' || roll.phase === 'watching';
    if (event === 'silent' && isLost && isCanary)
      fails(roll, `${host}, a canary, ${reason ?? 'fell silent'}`);
    return;
  }
  if (roll.phase !== 'watching') return;
  if (happened.reason !== undefined) {
    fails(roll, happened.reason);
    return;
  }
  roll.isWatched = true;
  goOn(roll, 'watched');
}

function heed(roll: Draft): void {
  const { asked } = roll;
  roll.asked = null;
  if (asked !== null && goOn(roll, asked) && (asked === 'undo' || asked === 'abort'))
    roll.reason = `an operator asked to ${asked}`;
}

/** @returns whether the event means something to a host that is so far. */
function toHost(roll: Draft, host: string, event: HostEvent, reason?: string): boolean {
  const known = roll.hosts[host];
  const state = known && hostStates[known.state][event];
  if (state === undefined) return false;
  const isFailure = event === 'failed' || event === 'not-taken-back';
  const why = isFailure && reason !== undefined ? shortened(reason, roll) : known?.reason;
  const isSilent = state === 'confirmed' && event === 'silent';
  roll.hosts[host] = {
    state,
    ...(why === undefined ? {} : { reason: why }),
    ...(isSilent ? { isSilent } : {}),
  };
  return true;
}

// All reasons of a roll fit into its value, whatever they are written in.
function shortened(reason: string, { hosts }: Roll): string {
  const most = Math.floor(MAX_REASONS_BYTES / Object.keys(hosts).length);
  let text = reason.slice(0, MAX_REASON);
  for (let has = bytesOf(text); has > most; has = bytesOf(text))
    text = text.slice(0, Math.floor((text.length * most) / has));
  return text;
}

function bytesOf(text: string): number {
  return Buffer.byteLength(JSON.stringify(text));
}

function goOn(roll: Draft, event: RollEvent): boolean {
  const phase = rollPhases[roll.phase][event];
  if (phase === undefined) return false;
  roll.phase = phase;
  if (phase === 'undoing') toEach(roll, 'undo');
  if (phase === 'stopping') toEach(roll, 'withdraw');
  return true;
}

function toEach(roll: Draft, event: HostEvent): void {
  for (const host of Object.keys(roll.hosts)) toHost(roll, host, event);
}

function fails(roll: Draft, reason: string): void {
  if (goOn(roll, `failed-${roll.terms.onFailure}`)) roll.reason = reason.slice(0, 800);
}

// Until nothing follows from the state any more.
function settle(roll: Draft): void {
  for (let phase: string | undefined; phase !== `${roll.phase} ${roll.wave}`; ) {
    phase = `${roll.phase} ${roll.wave}`;
    if (roll.phase === 'rolling') rollOn(roll);
    else if (roll.phase === 'stopping' && !isAny(roll, isUnderWay)) goOn(roll, 'settled');
    else if (roll.phase === 'undoing' && !isAny(roll, isUnderWay)) {
      const left = Object.entries(roll.hosts).filter(([, { state }]) => state === 'undo-failed');
      if (left.length > 0)
        roll.reason = `${roll.reason ?? 'undo'}; not undone: ${left.map(([host]) => host).join(', ')}`.slice(
          0,
          800,
        );
      goOn(roll, left.length > 0 ? 'not-all-taken-back' : 'all-taken-back');
    }
  }
}

function rollOn(roll: Draft): void {
  const wave = roll.waves[roll.wave] ?? [];
  const isCanaryWave = roll.hasCanaries && roll.wave === 0;
  const stateOf = (host: string) => roll.hosts[host]?.state ?? 'confirmed';
  let room = roll.terms.maxUnavailable - unavailable(roll);
  for (const host of wave) {
    // One that is silent counts already; its order waits for it.
    const isSilent = stateOf(host) === 'absent';
    if (room + (isSilent ? 1 : 0) > 0 && toHost(roll, host, 'order') && !isSilent) room -= 1;
  }
  if (wave.some((host) => isUnderWay(stateOf(host)))) return;
  if (wave.some((host) => stateOf(host) === 'waiting' || stateOf(host) === 'absent')) {
    fails(roll, tooManyUnknown(roll));
    return;
  }
  const lost = wave.find((host) => stateOf(host) === 'unknown' || roll.hosts[host]?.isSilent === true);
  if (isCanaryWave && lost !== undefined) {
    fails(roll, `${lost}, a canary, is silent`);
    return;
  }
  if (isCanaryWave && !roll.isWatched && roll.terms.watchForMs > 0 && roll.waves.length > 1) {
    goOn(roll, 'canaries-confirmed');
    return;
  }
  if (roll.wave + 1 < roll.waves.length) roll.wave += 1;
  else if (unavailable(roll) > roll.terms.maxUnavailable) fails(roll, tooManyUnknown(roll));
  else goOn(roll, 'all-confirmed');
}

function tooManyUnknown(roll: Roll): string {
  const names = Object.entries(roll.hosts).filter(([, one]) => isUnavailable(one));
  const shown = names.slice(0, 5).map(([host]) => host);
  const list = `${shown.join(', ')}${names.length > shown.length ? ', …' : ''}`;
  const silent = names.length === 1 ? '1 host is' : `${names.length} hosts are`;
  return `${silent} silent (${list}), and at most ${roll.terms.maxUnavailable} may be silent or restart`;
}

function unavailable(roll: Roll): number {
  return Object.values(roll.hosts).filter(isUnavailable).length;
}

function isAny({ hosts }: Roll, is: (state: Roll['hosts'][string]['state']) => boolean): boolean {
  return Object.values(hosts).some(({ state }) => is(state));
}

function isSame(one: Roll, other: Roll): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}
