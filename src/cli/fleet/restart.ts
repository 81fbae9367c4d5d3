import { randomBytes } from 'node:crypto';
import { hostname, userInfo } from 'node:os';
import { createInterface } from 'node:readline/promises';
import { Command, Option } from 'commander';
import { MoultError } from '../../errors.js';
import { FLEET_PROTOCOL, MAX_HOSTS } from '../../fleet/limits.js';
import { pause } from '../../fleet/pause.js';
import { isOver } from '../../fleet/roll/asking.js';
import { type Amount, amountOf, type Canaries, planWaves } from '../../fleet/roll/plan.js';
import type { Roll } from '../../fleet/roll/roll.js';
import { type FoundRoll, isHeard, type Member, membersOf, nextMarks, rollOf } from '../../fleet/roster.js';
import { rollKey } from '../../fleet/store/keys.js';
import type { FleetStore } from '../../fleet/store/store.js';
import { plural } from '../../terminal/plural.js';
import { print, printJson } from '../../terminal/print.js';
import { screenOf } from '../../terminal/screen.js';
import { oneOf, share, timeOption } from '../options/option-types.js';
import { settingsFrom, withFleet, withStore } from './open.js';
import { amount, canaries, factor, release } from './roll-options.js';
import { planText } from './show/plan-text.js';
import { type FollowedRoll, follow } from './watch.js';

/** So often, and in such steps, it is looked whether the roll before has ended. */
const MOST_LOOKS = 5;
const LOOK_MS = 200;

interface Flags {
  readonly fleet?: string;
  readonly release?: string;
  readonly canary: Canaries;
  readonly watchFor: number;
  readonly maxErrorRate: number;
  readonly maxSlowdown: number;
  readonly wave: Amount;
  readonly by?: string;
  readonly maxUnavailable?: Amount;
  readonly hostTimeout: number;
  readonly onFailure: 'undo' | 'stop';
  readonly plan?: true;
  readonly yes?: true;
  readonly wait: boolean;
  readonly json?: true;
}

/** The command `moult fleet restart`. Exit status: 0 when all hosts have the new release, 1 when the roll was undone or stopped. */
export function restartCommand(): Command {
  return withFleet(new Command('restart'))
    .description('restart a service on all hosts of the fleet: canaries first, then wave by wave')
    .argument('<name>', 'the service')
    .option(
      '--release <id>',
      'deploy this release on each host first, with its deploy step (default: restart what is deployed)',
      release,
    )
    .addOption(
      new Option(
        '--canary <which>',
        'the hosts that restart first: a number, a share, labels (zone=a), each:LABEL for one of each, or none',
      )
        .argParser(canaries)
        .default({ hosts: 1 }, '1'),
    )
    .addOption(
      timeOption('--watch-for <time>', 'how long to watch the canaries before the first wave', 30_000),
    )
    .addOption(
      new Option(
        '--max-error-rate <share>',
        'how much higher the share of 5xx responses of the canaries may be than that of the other hosts',
      )
        .argParser(share)
        .default(0.05, '5%'),
    )
    .addOption(
      new Option(
        '--max-slowdown <factor>',
        'how many times slower than the other hosts the canaries may be on average',
      )
        .argParser(factor)
        .default(5),
    )
    .addOption(
      new Option('--wave <size>', 'the number of hosts in a wave: a number or a share')
        .argParser(amount)
        .default({ share: 0.1 }, '10%'),
    )
    .option('--by <label>', 'finish all hosts with one value of this label before the next value')
    .option(
      '--max-unavailable <n>',
      'how many hosts may restart or be silent at a time: a number or a share (default: one wave)',
      amount,
    )
    .addOption(
      timeOption(
        '--host-timeout <time>',
        'how long a host may take to report a result before it counts as unknown',
        600_000,
      ),
    )
    .option(
      '--on-failure <what>',
      'when a host fails: undo returns all replaced hosts to their previous release, stop leaves them',
      oneOf('undo', 'stop'),
      'undo',
    )
    .option('--plan', 'show the plan and exit')
    .option('--yes', 'start without asking')
    .option('--no-wait', 'return as soon as the roll has begun')
    .option('--json', 'print the plan, each change and the result as lines of JSON')
    .action(async (name: string, flags: Flags) => {
      const began = await withStore(flags.fleet, (store) => begin(store, name, flags));
      if (began === undefined) return;
      if (flags.wait) await follow(await settingsFrom(flags.fleet), name, flags.json === true, began);
      else if (flags.json !== true) print(`the roll has begun; moult fleet watch ${name} follows it`);
    });
}

/** @returns the roll that it began; undefined where it was only shown. */
async function begin(store: FleetStore, name: string, flags: Flags): Promise<FollowedRoll | undefined> {
  const members = await membersOf(store, name);
  const before = await endedRoll(store, name);
  const { epoch, ...marks } = await nextMarks(store, name, members);
  const roll = { ...planned(name, members, flags), ...marks };
  if (flags.json === true) printJson({ type: 'plan', roll });
  else print(planText(roll, members, screenOf(process.stdout).columns));
  if (flags.plan === true || !(await isWanted(flags))) return undefined;
  const revision = await store.main.compareAndSet(rollKey(name), { ...roll, epoch }, before?.revision ?? 0);
  if (revision !== undefined) return { revision, serial: roll.serial };
  const now = await rollOf(store, name);
  throw now !== undefined && 'roll' in now && !isOver(now.roll)
    ? inProgress(now.roll)
    : new MoultError('MOULT_ROLL_IN_PROGRESS', `another roll of ${name} has just begun`);
}

// One that goes on is looked at again: a server may lag behind.
async function endedRoll(store: FleetStore, name: string): Promise<FoundRoll | undefined> {
  for (let times = 1; ; times += 1) {
    const found = await rollOf(store, name);
    if (found === undefined || 'trouble' in found || isOver(found.roll)) return found;
    if (times === MOST_LOOKS) throw inProgress(found.roll);
    await pause(LOOK_MS);
  }
}

function planned(name: string, members: readonly Member[], flags: Flags): Roll {
  const usable = members.filter(({ record }) => record !== undefined);
  if (usable.length === 0) throw nobody(name, members);
  if (usable.length > MAX_HOSTS) {
    const what = `${name} has ${usable.length} hosts in this fleet; a roll takes at most ${MAX_HOSTS}`;
    throw new MoultError('MOULT_BAD_OPTION', what);
  }
  const without = usable.filter(({ record }) => record?.hasDeploy === false).map(({ host }) => host);
  if (flags.release !== undefined && without.length > 0) {
    const what = `--release needs a deploy step on each host ("deploy" in its fleet settings); missing on ${without.slice(0, 5).join(', ')}`;
    throw new MoultError('MOULT_BAD_OPTION', what);
  }
  for (const [option, label] of labelsIn(flags)) {
    if (usable.some(({ record }) => record?.labels[label] !== undefined)) continue;
    const known = new Set(usable.flatMap(({ record }) => Object.keys(record?.labels ?? {})));
    const what = `${option}: expected a label that a host of ${name} has, received ${label}; they have ${[...known].sort().join(', ') || 'none'}`;
    throw new MoultError('MOULT_BAD_OPTION', what);
  }
  const candidates = usable.map((one) => ({
    host: one.host,
    labels: one.record?.labels ?? {},
    isHeard: isHeard(one),
  }));
  const { waves, hasCanaries } = planWaves(candidates, {
    canaries: flags.canary,
    wave: flags.wave,
    by: flags.by,
  });
  if (!hasCanaries && flags.canary !== 'none')
    throw new MoultError('MOULT_BAD_OPTION', `--canary matches no host of ${name} that is online`);
  const maxUnavailable = amountOf(flags.maxUnavailable ?? flags.wave, usable.length);
  const silent = candidates.filter(({ isHeard }) => !isHeard).map(({ host }) => host);
  // Each counts as unavailable, and so does one that restarts.
  if (silent.length >= maxUnavailable) {
    const names = `${silent.slice(0, 5).join(', ')}${silent.length > 5 ? ', …' : ''}`;
    const what = `--max-unavailable: expected more than the ${plural(silent.length, 'host')} of ${usable.length} that are silent (${names}), received ${maxUnavailable}: no other host could restart; moult fleet forget HOST removes one that will not return`;
    throw new MoultError('MOULT_BAD_OPTION', what);
  }
  return {
    protocol: FLEET_PROTOCOL,
    id: randomBytes(6).toString('hex'),
    serial: 1,
    service: name,
    release: flags.release ?? null,
    by: `${userInfo().username}@${hostname()}`.slice(0, 128),
    startedAt: Date.now(),
    epoch: 0,
    phase: 'rolling',
    wave: 0,
    hasCanaries,
    isWatched: false,
    waves,
    hosts: Object.fromEntries(
      candidates.map(({ host, isHeard }) => [host, { state: isHeard ? 'waiting' : 'absent' }] as const),
    ),
    terms: {
      maxUnavailable,
      onFailure: flags.onFailure,
      watchForMs: flags.watchFor,
      hostTimeoutMs: flags.hostTimeout,
      maxErrorRate: flags.maxErrorRate,
      maxSlowdown: flags.maxSlowdown,
    },
    asked: null,
  };
}

function labelsIn({ by, canary }: Flags): [string, string][] {
  const each: [string, string][] =
    typeof canary === 'object' && 'each' in canary ? [['--canary', canary.each]] : [];
  return by === undefined ? each : [['--by', by], ...each];
}

async function isWanted({ yes, json }: Flags): Promise<boolean> {
  if (yes === true || json === true || !process.stdin.isTTY || !process.stdout.isTTY) return true;
  const asking = createInterface({ input: process.stdin, output: process.stdout });
  try {
    return /^y(es)?$/i.test((await asking.question('Begin? [y/N] ')).trim());
  } finally {
    asking.close();
  }
}

function nobody(name: string, members: readonly Member[]): MoultError {
  const strange = members.find(({ trouble }) => trouble !== undefined);
  const why =
    strange === undefined ? '' : `; the record of ${strange.host} cannot be used: ${strange.trouble}`;
  const what = `no host of this fleet runs ${name}${why}; moult fleet status lists the services`;
  return new MoultError('MOULT_NOT_RUNNING', what);
}

function inProgress({ service, serial, phase, by, asked }: Roll): MoultError {
  const request = asked === null ? '' : `, and ${asked} was requested`;
  const what = `roll ${serial} of ${service}, started by ${by}, has not ended: it is ${phase}${request}`;
  return new MoultError('MOULT_ROLL_IN_PROGRESS', what);
}
