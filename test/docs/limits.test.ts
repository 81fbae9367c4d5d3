import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { DEFAULT_TIMES } from '#moult/lifecycle/default-times.js';
import { table } from '#moult/lifecycle/handover-states.js';
import { codes, page, root, rows, sections } from './page.js';

/** The value of a constant by its name, from the file that has it. */
function constant(file: string, name: string): number {
  const [, written] = new RegExp(`\\b${name}(?:: \\w+ =| =|:) (\\d[^;,)}\\n]*)`).exec(page(file)) ?? [];
  assert.ok(written !== undefined, `${file} has ${name}`);
  const factors = written.trim().replaceAll('_', '').split(/ \* /);
  const value = factors.reduce((product, factor) => product * power(factor), 1);
  assert.ok(Number.isFinite(value), `${file}: ${name} is ${written}`);
  return value;
}

function power(factor: string): number {
  const [base = Number.NaN, exponent = 1] = factor.split(' ** ').map(Number);
  return base ** exponent;
}

const seconds = (ms: number): string => `${ms / 1000} s`;
const mebibytes = (bytes: number): string => `${bytes / 2 ** 20} MiB`;
const kibibytes = (bytes: number): string => `${bytes / 2 ** 10} KiB`;
const grouped = (count: number): string => count.toLocaleString('en-US');

const GUIDE = 'docs/guide';
const FAILURES = `${GUIDE}/when-things-fail.md`;
const LONG = `${GUIDE}/long-lived-connections.md`;

/** What a page says of a limit: the page, where the limit is in the code, and the words with its value. */
const LIMITS: readonly [string, string, string, (value: number) => string][] = [
  [
    'SECURITY.md',
    'src/channel/door.ts',
    'predecessor',
    (n) => `At most ${n} peers at the socket of a generation`,
  ],
  ['SECURITY.md', 'src/channel/door.ts', 'supervisor', (n) => `${n} at the supervisor's`],
  ['SECURITY.md', 'src/channel/door.ts', 'HELLO_TIMEOUT_MS', (n) => `${seconds(n)} to say hello`],
  ['SECURITY.md', 'src/channel/channel.ts', 'MAX_UNREAD_BYTES', (n) => `${mebibytes(n)} unread`],
  ['SECURITY.md', 'src/supervisor/output/output-tail.ts', 'MAX_LINES', (n) => `the last ${n} lines`],
  [
    `${GUIDE}/how-a-restart-works.md`,
    'src/connections/moving/outflow.ts',
    'BATCH_WEIGHT',
    (n) => `up to ${n} such connections`,
  ],
  [
    `${GUIDE}/how-a-restart-works.md`,
    'src/connections/moving/outflow.ts',
    'FREEZE_LIMIT_MS',
    (n) => `after ${seconds(n)} they go on`,
  ],
  [
    `${GUIDE}/choosing-timeouts.md`,
    'src/handover/predecessor/commit.ts',
    'COMMIT_TIMEOUT_MS',
    (n) => `commit, not configurable | ${seconds(n)}`,
  ],
  [
    FAILURES,
    'src/handover/predecessor/commit.ts',
    'COMMIT_TIMEOUT_MS',
    (n) => `new clients wait up to ${seconds(n)}`,
  ],
  [
    FAILURES,
    'src/supervisor/restart/crash-recovery.ts',
    'LONGEST_TRY_MS',
    (n) => `at least every ${seconds(n)}`,
  ],
  [
    'docs/reference/signals.md',
    'src/supervisor/restart/backoff.ts',
    'longestMs',
    (n) => `so on up to ${seconds(n)}`,
  ],
  [
    'docs/reference/signals.md',
    'src/supervisor/restart/backoff.ts',
    'firstMs',
    (n) => `then after ${seconds(n)}`,
  ],
  [
    'docs/reference/signals.md',
    'src/supervisor/restart/backoff.ts',
    'stableMs',
    (n) => `that served for ${seconds(n)} counts as sound`,
  ],
  [
    'docs/reference/signals.md',
    'src/handover/predecessor/undo.ts',
    'HAND_BACK_TIMEOUT_MS',
    (n) => `does not answer within ${seconds(n)} gets SIGKILL`,
  ],
  [
    'docs/reference/cli.md',
    'src/supervisor/restart/probation-monitor.ts',
    'MIN_RESPONSES',
    (n) => `from ${n} responses on`,
  ],
  [
    'docs/reference/cli.md',
    'src/supervisor/restart/preconditions.ts',
    'MEMORY_WAIT_MS',
    (n) => `waits up to ${seconds(n)} for this much free memory`,
  ],
  ['docs/reference/cli.md', 'src/protocol/limits.ts', 'MAX_SLOTS', (n) => `1 to ${n}, \`max\``],
  [
    'docs/reference/cli.md',
    'src/supervisor/process/ready-times.ts',
    'READY_AFTER_MS',
    (n) => `| ${seconds(n)}; none for a program`,
  ],
  [
    `${GUIDE}/deploying.md`,
    'src/supervisor/process/ready-times.ts',
    'BUSY_MS',
    (n) => `up to ${seconds(n)} later`,
  ],
  [`${GUIDE}/slots.md`, 'src/protocol/limits.ts', 'MAX_SLOTS', (n) => `At most ${n} slots`],
  [`${GUIDE}/slots.md`, 'src/sticky/slot-queue.ts', 'WAIT_MS', (n) => `wait for it, up to ${seconds(n)}`],
  [
    `${GUIDE}/slots.md`,
    'src/connections/moving/connection-batches.ts',
    'ACKNOWLEDGE_TIMEOUT_MS',
    (n) => `(up to ${seconds(n)} if it has connections`,
  ],
  [`${GUIDE}/slots.md`, 'src/sticky/cookie.ts', 'MAX_HEAD_BYTES', (n) => `up to ${kibibytes(n)} and`],
  [`${GUIDE}/slots.md`, 'src/sticky/peek-head.ts', 'HEAD_MS', (n) => `${seconds(n)} from its first byte`],
  [`${GUIDE}/slots.md`, 'src/sticky/peek-head.ts', 'SILENT_MS', (n) => `says nothing, up to ${seconds(n)}`],
  [`${GUIDE}/threads.md`, 'src/handover/threads.ts', 'PAUSE_TIMEOUT_MS', (n) => `waits for it up to ${n} ms`],
  [
    `${GUIDE}/threads.md`,
    'src/handover/threads.ts',
    'FEWER_THREADS_MS',
    (n) => `no more came for ${seconds(n)}`,
  ],
  [
    `${GUIDE}/state-and-tasks.md`,
    'src/state/value-entry.ts',
    'DEFAULT_WHOLE_BYTES',
    (n) => `| ${mebibytes(n)}, or \`maxBytes\``,
  ],
  [
    `${GUIDE}/any-language.md`,
    'src/programs/notify-socket.ts',
    'MAX_BYTES',
    (n) => `more than ${grouped(n)} bytes`,
  ],
  [LONG, 'src/connections/flows.ts', 'MAX_FLOWS', (n) => `At most ${grouped(n)} flows`],
  [LONG, 'src/library/ws/mover.ts', 'MAX_BYTES', (n) => `\`maxBytes\` (${mebibytes(n)})`],
  [
    LONG,
    'src/library/movable/movable.ts',
    'DEFAULT_MAX_BYTES',
    (n) => `${mebibytes(n)} unless you say otherwise`,
  ],
  [
    LONG,
    'src/library/ws/inflate-window.ts',
    'WINDOW_BYTES',
    (n) => `refer back to the ${kibibytes(n)} before them`,
  ],
  [
    `${GUIDE}/message-services.md`,
    'src/tasks/runners/consumer-runner.ts',
    'STOP_WITHIN_MS',
    (n) => `\`stopWithinMs\` (${seconds(n)})`,
  ],
  [
    `${GUIDE}/message-services.md`,
    'src/consumers/bullmq.ts',
    'CONNECT_WITHIN_MS',
    (n) => `\`connectWithinMs\` (${seconds(n)})`,
  ],
  [
    `${GUIDE}/message-services.md`,
    'src/consumers/redis-streams.ts',
    'CLAIM_IDLE_MS',
    (n) => `\`claimIdleMs\` (${seconds(n)})`,
  ],
  [`${GUIDE}/config.md`, 'src/config/evaluate-config.ts', 'TIMEOUT_MS', (n) => `within ${seconds(n)}`],
  [
    `${GUIDE}/dashboard.md`,
    'src/protocol/limits.ts',
    'MAX_DRAINING',
    (n) => `first ${n} connections of each generation`,
  ],
  [`${GUIDE}/fleet.md`, 'src/fleet/store/store.ts', 'ALIVE_MS', (n) => `after ${seconds(n)} it is *unknown*`],
  [`${GUIDE}/fleet.md`, 'src/fleet/leader/leader.ts', 'TAKE_MS', (n) => `after ${n / 1000} to 7 s`],
  [
    `${GUIDE}/recycling.md`,
    'src/supervisor/slots/recycler.ts',
    'SOUND_MS',
    (n) => `within ${seconds(n)} if that is longer`,
  ],
  [
    `${GUIDE}/recycling.md`,
    'src/supervisor/slots/recycler.ts',
    'FIRST_WAIT_MS',
    (n) => `${seconds(n)}, then`,
  ],
  [
    `${GUIDE}/recycling.md`,
    'src/supervisor/slots/recycler.ts',
    'LONGEST_WAIT_MS',
    (n) => `up to ${n / 60_000} minutes`,
  ],
  [
    'docs/reference/fleet.md',
    'src/cli/fleet/show/status-text.ts',
    'MANY',
    (n) => `With more than ${n} hosts`,
  ],
  [
    'docs/reference/fleet.md',
    'src/fleet/roll/canary-figures.ts',
    'ENOUGH',
    (n) => `needs ${n} requests on both sides`,
  ],
  [
    'docs/reference/fleet.md',
    'src/fleet/roll/canary-figures.ts',
    'UNNOTICED_MS',
    (n) => `and ${n} ms longer`,
  ],
];

describe('what the documents say of limits', () => {
  for (const path of new Set(LIMITS.map(([page]) => page)))
    it(`${path} has them as the code does`, () => {
      const text = page(path).replace(/\s+/g, ' ');
      for (const [on, file, name, words] of LIMITS) {
        if (on !== path) continue;
        const said = words(constant(file, name));
        assert.ok(text.includes(said), `expected "${said}", for ${name} of ${file}`);
      }
    });
});

describe('docs/guide/choosing-timeouts.md', () => {
  it('has the default of each time', () => {
    const written = new Map(
      rows(page('docs/guide/choosing-timeouts.md')).map(([clock = '', value = '']) => [
        codes(clock)[0],
        value,
      ]),
    );
    for (const [name, ms] of Object.entries(DEFAULT_TIMES)) {
      const flag = `--${name.replace(/Ms$/, '').replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
      assert.equal(
        written.get(flag),
        ms === 0 ? '0' : seconds(ms),
        `docs/guide/choosing-timeouts.md: ${flag}, by src/lifecycle/default-times.ts`,
      );
    }
  });
});

describe('docs/decisions/README.md', () => {
  it('has every decision by its number and its title', () => {
    const folder = join(root, 'docs/decisions');
    const titles = readdirSync(folder)
      .filter((name) => /^\d{4}-/.test(name))
      .sort()
      .map((name) => {
        const [, number, title] = /^# (\d+)\. (.+)$/m.exec(readFileSync(join(folder, name), 'utf8')) ?? [];
        assert.equal(Number(name.slice(0, 4)), Number(number), name);
        return `- [${number}. ${title?.replaceAll('`', '')}](${name})`;
      });
    const listed = page('docs/decisions/README.md')
      .split('\n')
      .filter((line) => line.startsWith('- '));
    assert.deepEqual(listed.map((line) => line.replaceAll('`', '')).sort(), titles.sort());
  });
});

describe('CHANGELOG.md', () => {
  it('has one list for each version, and nothing after it', () => {
    for (const [version, text] of sections(page('CHANGELOG.md'), 2)) {
      const list = text.slice(text.search(/^- /m)).trimEnd();
      for (const line of list.split('\n')) assert.match(line, /^(- | {2})\S/, `${version}: ${line}`);
    }
  });
});

describe('README.md', () => {
  it('installs where it says', () => {
    const { os, engines } = JSON.parse(page('package.json')) as { os: string[]; engines: { node: string } };
    assert.deepEqual(os, ['linux', 'darwin'], 'Linux, and macOS for development');
    assert.match(page('README.md'), /On macOS the package installs, for development/);
    assert.equal(engines.node, '>=20.19.0');
    for (const path of ['README.md', 'CONTRIBUTING.md'])
      assert.match(page(path), /Node 20\.19 or later/, path);
  });

  it('promises that one accepts, as the table of states does', () => {
    const accepts = new Set(Object.values(table).map((state) => state.accepts));
    assert.deepEqual([...accepts].sort(), ['none', 'predecessor', 'successor']);
    for (const path of ['README.md', 'ARCHITECTURE.md'])
      assert.match(page(path), /At every moment at most one/, path);
  });

  it('lists the commands that there are', () => {
    const listed = new Set([...page('README.md').matchAll(/^npx moult ([a-z]+)/gm)].map(([, name]) => name));
    const written = [...sections(page('docs/reference/cli.md'), 2).keys()].map((heading) => heading.slice(6));
    assert.deepEqual(
      [...listed].filter((name) => !written.includes(name ?? '')),
      [],
    );
    assert.ok(rows(page('README.md')).length > 6);
  });
});
