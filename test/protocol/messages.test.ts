import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MoultError } from '#moult/errors.js';
import { MAX_DESCRIPTORS } from '#moult/protocol/limits.js';
import { MAX_LISTENERS, type MessageType, parseMessage, schemas } from '#moult/protocol/messages.js';
import fc from '../support/fast-check.js';

type Fields = Record<string, unknown>;

const NOTHING = Buffer.alloc(0);
const parse = (type: string, fields: unknown) =>
  parseMessage({
    message: { ...(fields as object), type } as { type: string } & Fields,
    attachment: NOTHING,
  });

const error = {
  code: 'MOULT_CHECK_FAILED',
  message: 'no',
  serving: 'predecessor',
  stage: 'ready',
  retry: true,
  remedy: 'mend',
  details: { a: [1] },
};
const settings = {
  readyTimeoutMs: 1,
  drainTimeoutMs: 2.5,
  probationMs: 0,
  stopSignal: 'SIGTERM',
  waitReady: false,
  allowFewerListeners: true,
  checked: true,
  countErrors: false,
  sharesListeners: true,
  measures: true,
};
const listener = {
  name: 'tcp://*:1',
  family: 'tcp',
  backlog: 511,
  path: null,
  ticketKeys: 'aaaa',
  sessionIdContext: 'b',
  meetsPipelining: true,
  unhandled: true,
};
const connection = {
  listener: 'tcp://*:1',
  kind: 'http1',
  idleLeftMs: null,
  headLeftMs: 3,
  requests: 0,
  mover: 'raw',
  version: 1,
  frozenAtMs: 1.5,
};
const measures = {
  requests: 3,
  errors: 1,
  durations: [1, 2, 0],
  durationSumMs: 7.5,
  delayP50Ms: 0,
  delayP99Ms: 1.5,
  delayMaxMs: 2,
};
const state = {
  generation: 1,
  pid: 2,
  state: 'serving',
  entry: '/a.js',
  startedAt: 1,
  tookOver: true,
  listeners: [{ name: 'a', address: { port: 1 } }],
  connections: 0,
  inFlight: 0,
  responses: 9,
  errors: 1,
  moves: { http1: 'yes' },
  memoryBytes: 1,
  measures,
  draining: {
    remaining: [{ reason: 'why', connections: 1 }],
    cutInMs: 1.5,
    connections: [{ peer: '::1', ageMs: 2.5, kind: 'tls', reason: 'why' }],
  },
};

/** One right message of each type, with every field that it can have. */
const right: Record<string, Fields> = {
  greeting: { protocol: { min: 1, max: 1 }, role: 'supervisor', moult: '1.0.0', pid: 1 },
  hello: {
    protocol: 1,
    role: 'operator',
    moult: '1.0.0',
    pid: 1,
    generation: 2,
    node: 'v20',
    entry: '/a.js',
    rejoin: { accepting: true, epoch: 1, state: 'serving', successor: null },
  },
  refused: { error },
  part: {},
  whole: { bytes: 7, count: 300 },
  inherit: { epoch: 1, listeners: [listener] },
  missing: { names: ['tcp://*:80'], opened: ['tcp://*:0'], passesBy: true },
  'late-listener': { listener, waits: true },
  ready: {
    claims: [{ name: 'a', accepts: ['http1'], movers: [{ name: 'raw', min: 1, max: 2 }] }],
    said: true,
  },
  commit: { epoch: 1 },
  'state-want': { pieces: [{ name: 'sessions', min: 1, max: 2, late: true }] },
  'state-part': { name: 'sessions', version: 2, goesOn: true },
  'state-read': { bytes: 7 },
  'state-copied': {},
  fallback: {},
  'task-begun': { name: 'mail' },
  'task-given': { name: 'mail', late: true, goesOn: true },
  'task-read': { bytes: 1_048_576 },
  committed: {},
  connections: { batch: 1, items: [connection] },
  'connections-received': { batch: 1, count: 1 },
  'connections-data': { batch: 1, items: [{ index: 0, bytes: 12 }] },
  'connections-begin': { batch: 1, without: [3] },
  'connections-kept': { batch: 1, asks: true },
  flows: { listener: 'udp://*:53', keys: ['a'] },
  'flows-ended': { listener: 'udp://*:53', keys: ['a'] },
  'flows-ended-seen': { count: 1 },
  datagrams: {
    listener: 'udp://*:53',
    items: [{ address: '127.0.0.1', family: 'IPv4', port: 1, bytes: 3 }],
    returned: true,
  },
  'datagrams-received': { bytes: 3 },
  'connections-adopted': { batch: 1, pausesMs: [0.5], failed: 1 },
  peers: { peers: [{ generation: 2, door: '/g2.sock' }] },
  'broadcast-join': {
    id: 'a',
    heard: [{ origin: 'b', seq: 7 }],
    kept: [{ origin: 'b', seq: 3 }],
    first: true,
    alone: 2,
  },
  broadcast: { items: [{ origin: 'a', seq: 1, topic: 'chat', bytes: 3, fed: 'b.1' }] },
  'broadcast-heard': { heard: [{ origin: 'a', seq: 1 }] },
  confirm: {},
  abort: { error },
  welcome: { generation: 1, predecessor: '/g1.sock', settings },
  hold: { listener },
  release: { name: 'a' },
  left: { pid: 7, names: ['a'], closed: true, failed: true, thread: 1 },
  expect: { generation: 1, settings },
  expecting: { generation: 1, error },
  door: { path: '/g1.sock' },
  'take-door': { path: '/g1.sock' },
  look: { id: 1, probes: [{ listener: 'a', from: '40000' }] },
  looking: {
    id: 1,
    listeners: ['a'],
    closed: [{ name: 'b', at: 1 }],
    accepted: [{ name: 'a', connections: 2 }],
    late: ['c'],
  },
  seen: { id: 1, listener: 'a' },
  progress: { generation: 1, stage: 'ready', at: 1, facts: { any: 'thing' } },
  aborted: { generation: 1, error },
  undone: { generation: 1, error, alive: true },
  'direct-output': {},
  stopping: { delayMs: 2000, unready: '/readyz' },
  'renew-output': { id: 3 },
  'output-renewed': { id: 3 },
  undo: { error },
  proceed: { generation: 1 },
  'check-connection': { listener: 'a' },
  'hand-back': {
    claims: [{ name: 'a', accepts: ['http1'] }],
    drainTimeoutMs: 1,
    state: [{ name: 'sessions', min: 1, max: 2 }],
    tasks: ['mail'],
    saysResumed: true,
  },
  'handed-back': { hearsResumed: true },
  resumed: {},
  rollback: { allowFewerListeners: true },
  upgrade: {},
  history: {},
  serving: { epoch: 1, said: false },
  retire: { timeoutMs: 1, keepOpen: true, heirs: ['/g2.sock'] },
  give: { door: '/g2.sock', count: 3 },
  gave: { moved: 2 },
  takes: {
    claims: [{ name: 'a', accepts: ['http1'] }],
    threads: ['/run/moult/x/t9-1.sock'],
    fresh: true,
    tasks: ['mail'],
  },
  'thread-welcome': { generation: 2, settings, accepts: true },
  listening: { name: 'a', address: { address: '::', port: 3000 } },
  pause: {},
  paused: {},
  exits: { failed: true },
  leave: { doors: ['/run/moult/x/t9-1.sock'], drainTimeoutMs: 30_000, drainSpreadMs: 1000 },
  settled: { moved: 2, notRestored: 0, pausesMs: [1.5, 2] },
  counts: { id: 1, connections: 3, inFlight: 1, responses: 9, errors: 0, measures },
  end: {},
  homes: {
    own: 1,
    cookie: 'sid',
    slots: [
      { slot: 0, door: '/run/g1-9.sock' },
      { slot: 1, door: null },
    ],
  },
  share: { listener },
  withdraw: { name: 'a' },
  scale: { slots: 8 },
  drained: {
    report: { moved: 1, drained: 1, cut: [{ peer: '::1', ageMs: 1, reason: 'slow', kind: 'tls' }] },
    measures,
  },
  'ask-members-door': { id: 1 },
  'members-door': { path: null },
  'ask-state': { id: 1, measure: true },
  state: { id: 1, state },
  restart: {
    wait: true,
    ifBusy: 'wait',
    allowFewerListeners: false,
    untilConfirmed: false,
    whenQuiet: { below: 1, withinMs: 2, atLimit: 'go' },
    surge: 2,
    onFailure: 'keep',
  },
  'take-over': { sharesFolder: true },
  offer: { name: 'a', generation: 1, door: '/g1.sock', epoch: 1, lastNumber: 1, saysReady: false },
  gone: {},
  stop: {},
  'reopen-output': {},
  status: { measure: true },
  metrics: {},
  dashboard: {},
  watch: {},
  event: { event: { type: 'stage' } },
  result: { ok: true, error, value: { a: 1 } },
};

const OPTIONAL =
  /(^|\.)(error\.(serving|stage|retry|remedy|details)|ticketKeys|sessionIdContext|meetsPipelining|unhandled|movers|mover|passesBy|asks|without|late|goesOn|isWhole|failed|returned|fresh|sharesListeners|surge|onFailure|measure|measures|tookOver)$|^state\.state\.draining(\.connections)?$|cut\.\d+\.kind$|items\.\d+\.fed$|items\.\d+\.version$|^hand-back\.(state|tasks|saysResumed)$|^handed-back\.hearsResumed$|^retire\.(keepOpen|heirs)$|^stopping\.unready$|^hello\.(shares|generation|node|entry|rejoin)$|^homes\.cookie$|^(result|expecting)\.error$|^result\.value$|^takes\.(threads|tasks)$|^broadcast-join\.(kept|alone)$|^leave\.drainSpreadMs$|^left\.thread$|^looking\.accepted$|^rollback\.allowFewerListeners$/;
/** Fields whose inside is the business of whoever reads them. */
const OPEN = /(^|\.)(details|facts|address|event\.event|result\.value)$/;
/** Fields that may be null: there is none. */
const NULLABLE =
  /(listener\.path|listeners\.\d+\.path|\.idleLeftMs|\.headLeftMs|welcome\.predecessor|rejoin\.successor|slots\.\d+\.door|check-connection\.listener|restart\.whenQuiet)$/;
/** Numbers of things, in contrast to times and clocks. */
const COUNT =
  /(epoch|batch|count|pid|generation|backlog|requests|moved|drained|id|below|bytes|port|inFlight|responses|errors|connections|memoryBytes|protocol|min|max|slots|slot|own|surge|notRestored|seq|total)$|durations\.\d+$/;

/** Every place in a message, with the value there. */
function places(
  value: unknown,
  path: (string | number)[] = [],
): { path: (string | number)[]; value: unknown }[] {
  const here = path.length === 0 ? [] : [{ path, value }];
  if (typeof value !== 'object' || value === null) return here;
  const inside = Object.entries(value).flatMap(([key, part]) =>
    places(part, [...path, Array.isArray(value) ? Number(key) : key]),
  );
  return [...here, ...inside];
}

function changed(
  fields: Fields,
  path: readonly (string | number)[],
  change: (at: Fields, key: string) => void,
): Fields {
  const copy = structuredClone(fields);
  let at: unknown = copy;
  for (const key of path.slice(0, -1)) at = (at as Record<string | number, unknown>)[key];
  change(at as Fields, String(path.at(-1)));
  return copy;
}

function wrongValuesFor(value: unknown, where: string): unknown[] {
  const wrong = wrongValuesOfType(value, where);
  return NULLABLE.test(where) ? [true, ...wrong.filter((bad) => bad !== null)] : wrong;
}

function wrongValuesOfType(value: unknown, where: string): unknown[] {
  if (value === null) return [];
  if (typeof value === 'string') return [7, null, {}, [], 'x'.repeat(20_000)];
  if (typeof value === 'number') return ['7', null, {}, Number.NaN, ...(COUNT.test(where) ? [-1, 0.5] : [])];
  if (typeof value === 'boolean') return ['true', 0, null];
  if (Array.isArray(value)) return [{}, 'x', null];
  return [7, 'x'];
}

const types = Object.keys(schemas).filter((type) => type in right) as MessageType[];
const sample = (type: string): Fields => right[type] ?? {};

describe('messages', () => {
  it('are all known to this test', () => {
    assert.deepEqual(Object.keys(right).sort(), Object.keys(schemas).sort());
  });

  for (const type of types) {
    it(`${type}: passes with its fields, and without those that it does not know`, () => {
      assert.deepEqual(parse(type, sample(type)), { type, ...sample(type) });
      assert.deepEqual(parse(type, { ...sample(type), later: { version: 2 } }), { type, ...sample(type) });
    });

    it(`${type}: is refused with a field that is wrong or missing, and the field is named`, () => {
      for (const { path, value } of places(sample(type))) {
        const names = path.join('.');
        const where = `${type}.${names}`;
        const inOpen = path.some(
          (_, i) => i < path.length - 1 && OPEN.test(`${type}.${path.slice(0, i + 1).join('.')}`),
        );
        if (inOpen) continue;
        const wrong = wrongValuesFor(value, where).map((bad) =>
          changed(sample(type), path, (at, key) => {
            at[key] = bad;
          }),
        );
        if (typeof path.at(-1) === 'string' && !OPTIONAL.test(where)) {
          wrong.push(
            changed(sample(type), path, (at, key) => {
              delete at[key];
            }),
          );
        }
        for (const fields of wrong) {
          assert.throws(
            () => parse(type, fields),
            (caught) => {
              assert.ok(caught instanceof MoultError, `${where}: ${String(caught)}`);
              assert.equal(caught.code, 'MOULT_PROTOCOL_FRAME');
              assert.ok(
                caught.message.includes(`message ${type}: field ${names}`),
                `${where} in: ${caught.message}`,
              );
              return true;
            },
            where,
          );
        }
      }
    });

    it(`${type}: fields that may be missing may be missing`, () => {
      for (const { path } of places(sample(type))) {
        if (!OPTIONAL.test(`${type}.${path.join('.')}`)) continue;
        const fields = changed(sample(type), path, (at, key) => {
          delete at[key];
        });
        assert.deepEqual(parse(type, fields), { type, ...fields });
      }
    });
  }

  it('of an unknown type are refused, also where the type is a property of every object', () => {
    for (const type of [
      '',
      'Hello',
      'toString',
      '__proto__',
      'constructor',
      'hasOwnProperty',
      'x'.repeat(100_000),
    ]) {
      assert.throws(
        () => parse(type, {}),
        (caught) => {
          assert.ok(caught instanceof MoultError);
          assert.equal(caught.code, 'MOULT_PROTOCOL_FRAME');
          assert.ok(caught.message.length < 300);
          return true;
        },
      );
    }
  });

  it('hold so many connections, listeners and cuts at most', () => {
    const many = <T>(one: T, count: number) => Array.from({ length: count }, () => one);
    assert.doesNotThrow(() => parse('connections', { batch: 1, items: many(connection, MAX_DESCRIPTORS) }));
    assert.doesNotThrow(() => parse('inherit', { epoch: 1, listeners: many(listener, MAX_LISTENERS) }));
    for (const [type, fields, field] of [
      ['connections', { batch: 1, items: many(connection, MAX_DESCRIPTORS + 1) }, 'items'],
      ['connections', { batch: 1, items: [] }, 'items'],
      ['inherit', { epoch: 1, listeners: many(listener, MAX_LISTENERS + 1) }, 'listeners'],
      ['connections-adopted', { batch: 1, pausesMs: many(1, MAX_DESCRIPTORS + 1) }, 'pausesMs'],
      [
        'drained',
        { report: { moved: 0, drained: 0, cut: many({ peer: '', ageMs: 1, reason: '' }, 1001) } },
        'report.cut',
      ],
    ] as const) {
      assert.throws(() => parse(type, fields), {
        code: 'MOULT_PROTOCOL_FRAME',
        message: new RegExp(`field ${field}:`),
      });
    }
  });

  it('with random fields throw nothing but a typed error', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...types),
        fc.dictionary(fc.string(), fc.jsonValue()),
        fc.nat(),
        fc.jsonValue(),
        (type, extra, at, value) => {
          const all = places(sample(type));
          const place = all.length === 0 ? undefined : all[at % all.length];
          const fields =
            place === undefined
              ? extra
              : changed({ ...extra, ...sample(type) }, place.path, (object, key) => {
                  object[key] = value;
                });
          try {
            parse(type, fields);
          } catch (caught) {
            assert.ok(caught instanceof MoultError, String(caught));
            assert.equal(caught.code, 'MOULT_PROTOCOL_FRAME');
          }
        },
      ),
      { numRuns: 2000 },
    );
  });

  it('cannot reach the prototype of anything', () => {
    const fields = JSON.parse(
      '{"__proto__":{"polluted":1},"event":{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}}',
    );
    parse('event', fields);
    assert.equal(({} as Fields).polluted, undefined);
  });
});
