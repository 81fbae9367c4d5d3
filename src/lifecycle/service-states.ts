/*
 * Over 300 lines: one table, to be read as a whole.
 */
import type { ServiceAction, ServiceEvent, ServiceState } from './service-events.js';

/** The state that follows, and what is done. */
type Cell = ServiceState | readonly [ServiceState, ServiceAction];

interface Row {
  /** Who serves in this state. */
  readonly serves: string;
  readonly on: Partial<Record<ServiceEvent, Cell>>;
  /** What may happen, and changes nothing. Anything else cannot happen. */
  readonly ignores: readonly ServiceEvent[];
}

const revive = ['waiting', 'revive'] as const;
/** What the end of the one that serves leads to. */
const endOfCurrent = {
  done: ['stopping', 'stop'],
  crashed: revive,
  'crashed-with-heir': ['starting', 'await-heir'],
  'crashed-in-probation': ['resuming', 'await-predecessor'],
} as const;
const over = { stop: 'stopping', finish: 'stopped' } as const;
/** Of generations that do not serve, where another one does. */
const besides = ['other-ended', 'last-ended', 'revival-ended', 'predecessor-ended'] as const;
/** What is told late of a take-over that is over, or of an adoption. */
const elsewhere = ['adopt', 'settled', 'not-taken'] as const;
/** What a handover that is over may still bring. */
const late = ['confirmed', 'undone', 'undo', 'failed', 'nobody-left'] as const;
/** What is decided once it is known which of two supervisors has the service. */
const decidedThere = ['done', 'crashed', 'crashed-in-probation', 'first-ended', 'adopt'] as const;
const besidesTheOther = ['replace', 'serves', 'commits', ...decidedThere] as const;
/** What generations may still do when what follows is no longer this slot's affair. */
const anything = [
  'done',
  'crashed',
  'crashed-with-heir',
  'crashed-in-probation',
  'first-ended',
  ...besides,
  ...late,
  'start',
  'adopt',
  'serves',
  'commits',
  'resumable',
  'keeps',
  'replace',
  'give-way',
] as const;

const ofATakeOver = [
  'offer',
  'handed-on',
  'not-taken',
  'crashed-in-passing',
  'settled',
  'heir-lost',
] as const;

/** Every state, who serves in it, and what each event leads to. ARCHITECTURE.md shows it, generated from here. */
export const serviceTable: Readonly<Record<ServiceState, Row>> = {
  empty: {
    serves: 'nobody',
    on: { start: 'starting', adopt: 'starting', arrive: 'arriving', 'nobody-left': revive, ...over },
    ignores: [],
  },
  starting: {
    serves: 'nobody yet',
    on: {
      serves: 'serving',
      commits: 'probation',
      undone: ['serving', 'call-off'],
      ...endOfCurrent,
      'first-ended': ['stopped', 'end'],
      'last-ended': revive,
      'nobody-left': revive,
      arrive: 'arriving',
      ...over,
    },
    ignores: [
      ...elsewhere,
      'start',
      'resumable',
      'confirmed',
      'undo',
      'failed',
      'other-ended',
      'predecessor-ended',
      'revival-ended',
    ],
  },
  serving: {
    serves: 'one generation',
    on: {
      commits: 'probation',
      resumable: 'probation',
      replace: 'replacing',
      'change-over': 'changing-over',
      ...endOfCurrent,
      offer: 'passing',
      ...over,
    },
    ignores: [...elsewhere, 'serves', 'keeps', ...late, ...besides],
  },
  replacing: {
    serves: 'the predecessor',
    on: {
      serves: 'serving',
      commits: 'probation',
      failed: 'serving',
      'give-way': 'starting',
      undone: ['serving', 'call-off'],
      ...endOfCurrent,
      ...over,
    },
    ignores: ['confirmed', 'undo', 'keeps', 'resumable', 'adopt', 'nobody-left', ...besides],
  },
  probation: {
    serves: 'the successor; its predecessor can resume',
    on: {
      confirmed: 'serving',
      'predecessor-ended': 'serving',
      undo: 'undoing',
      undone: 'serving',
      serves: 'serving',
      replace: 'replacing',
      'change-over': 'changing-over',
      ...endOfCurrent,
      offer: 'passing',
      ...over,
    },
    ignores: [
      'commits',
      'resumable',
      'failed',
      'nobody-left',
      'adopt',
      'other-ended',
      'last-ended',
      'revival-ended',
    ],
  },
  undoing: {
    serves: 'nobody; the successor hands back',
    on: {
      undone: 'serving',
      keeps: 'serving',
      confirmed: 'serving',
      serves: 'serving',
      'predecessor-ended': ['undoing', 'ask-successor'],
      ...endOfCurrent,
      ...over,
    },
    ignores: ['undo', 'failed', 'nobody-left', 'adopt', 'other-ended', 'last-ended'],
  },
  resuming: {
    serves: 'nobody; the predecessor resumes',
    on: {
      start: 'starting',
      undone: ['serving', 'call-off'],
      serves: 'serving',
      commits: 'probation',
      confirmed: 'starting',
      'last-ended': revive,
      'nobody-left': revive,
      'first-ended': ['stopped', 'end'],
      ...over,
    },
    ignores: ['not-taken', 'undo', 'failed', 'adopt', 'other-ended', 'revival-ended', 'predecessor-ended'],
  },
  waiting: {
    serves: 'nobody; the last good release starts after a pause',
    on: {
      retry: 'reviving',
      start: 'starting',
      serves: 'serving',
      commits: 'probation',
      undone: ['serving', 'call-off'],
      arrive: 'arriving',
      'first-ended': ['stopped', 'end'],
      ...over,
    },
    ignores: [...elsewhere, 'confirmed', 'undo', 'failed', 'nobody-left', 'resumable', ...besides],
  },
  reviving: {
    serves: 'nobody yet; the last good release is started',
    on: {
      serves: 'serving',
      commits: 'probation',
      undone: ['serving', 'call-off'],
      'revival-ended': revive,
      arrive: 'arriving',
      'first-ended': ['stopped', 'end'],
      ...over,
    },
    ignores: [
      ...elsewhere,
      'start',
      'confirmed',
      'undo',
      'failed',
      'nobody-left',
      'resumable',
      'other-ended',
      'last-ended',
      'predecessor-ended',
    ],
  },
  'changing-over': {
    serves: 'nobody; the next one starts when all of it has ended',
    on: {
      start: 'starting',
      failed: 'serving',
      'nobody-left': revive,
      done: ['changing-over', 'await-end'],
      crashed: ['changing-over', 'await-end'],
      'crashed-with-heir': ['changing-over', 'await-end'],
      'crashed-in-probation': ['changing-over', 'await-end'],
      ...over,
    },
    ignores: [
      'serves',
      'commits',
      'confirmed',
      'undo',
      'undone',
      'keeps',
      'adopt',
      'first-ended',
      ...besides,
    ],
  },
  arriving: {
    serves: "another supervisor's generation",
    on: {
      serves: 'arrived',
      commits: 'arrived',
      'crashed-with-heir': ['arriving', 'await-heir'],
      ...over,
    },
    ignores: ['start', 'replace', 'give-way', ...decidedThere, ...late, ...besides],
  },
  arrived: {
    serves: "the successor; another supervisor's generation can resume",
    on: {
      settled: 'serving',
      undo: 'giving-back',
      'crashed-with-heir': ['starting', 'await-heir'],
      'nobody-left': revive,
      ...over,
    },
    ignores: [...besidesTheOther, ...besides, 'give-way', 'confirmed', 'undone', 'failed', 'keeps'],
  },
  'giving-back': {
    serves: "nobody; another supervisor's generation resumes",
    on: {
      settled: 'serving',
      keeps: 'arrived',
      'predecessor-ended': ['giving-back', 'ask-successor'],
      'crashed-with-heir': ['starting', 'await-heir'],
      'nobody-left': revive,
      ...over,
    },
    ignores: [
      ...besidesTheOther,
      'other-ended',
      'last-ended',
      'revival-ended',
      'confirmed',
      'undone',
      'failed',
      'undo',
    ],
  },
  passing: {
    serves: 'one generation; another supervisor takes over',
    on: {
      'handed-on': 'passed',
      'not-taken': 'serving',
      'crashed-in-passing': 'orphaned',
      leave: 'leaving',
      ...endOfCurrent,
      ...over,
    },
    ignores: ['adopt', 'keeps', 'resumable', ...late, ...besides],
  },
  passed: {
    serves: "another supervisor's generation; ours can resume",
    on: { 'not-taken': 'serving', leave: 'leaving', ...endOfCurrent, ...over },
    ignores: ['handed-on', 'adopt', 'resumable', ...late, ...besides],
  },
  orphaned: {
    serves: "nobody; another supervisor's generation begins when it is ready",
    on: {
      leave: 'leaving',
      'heir-lost': revive,
      undone: ['orphaned', 'retire'],
      ...over,
    },
    ignores: ['handed-on', 'adopt', 'confirmed', 'undo', 'failed', 'nobody-left', 'first-ended', ...besides],
  },
  leaving: {
    serves: "another supervisor's generation",
    on: { undone: ['leaving', 'retire'], ...over },
    ignores: ['leave', ...anything.filter((event) => event !== 'undone')],
  },
  stopping: {
    serves: 'nobody, from the end of --stop-delay on',
    on: { finish: 'stopped' },
    ignores: ['stop', 'leave', 'change-over', ...ofATakeOver, 'retry', ...anything],
  },
  stopped: {
    serves: 'nobody',
    on: {},
    ignores: ['stop', 'finish', 'leave', 'change-over', ...ofATakeOver, 'retry', ...anything],
  },
};

/**
 * Where an event leads that cannot happen in its state. Who serves is a fact of the processes, whatever the table says; and a
 * service that nobody serves is started again.
 */
const unexpected: Partial<Record<ServiceEvent, Cell>> = {
  serves: 'serving',
  commits: 'probation',
  undone: 'serving',
  crashed: revive,
  'last-ended': revive,
  'nobody-left': revive,
  'heir-lost': revive,
};

/** Where it is not this supervisor's affair any more who serves. */
const afterwards: readonly ServiceState[] = ['leaving', 'stopping', 'stopped'];

/** What an event leads to, and whether it can happen in this state. */
export function serviceStep(
  state: ServiceState,
  event: ServiceEvent,
): { readonly to: ServiceState; readonly action: ServiceAction | undefined; readonly isExpected: boolean } {
  const { on, ignores } = serviceTable[state];
  const isExpected = event in on || ignores.includes(event);
  const cell = (isExpected ? on[event] : afterwards.includes(state) ? state : unexpected[event]) ?? state;
  const [to, action] = typeof cell === 'string' ? [cell, undefined] : cell;
  return { to, action, isExpected };
}
