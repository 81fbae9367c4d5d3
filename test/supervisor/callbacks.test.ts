import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { sourceOf, supervisorFiles } from '../support/supervisor-files.js';

const CALLS_BACK = /(?<![\w.])(setTimeout|setInterval|setImmediate|queueMicrotask|process\.nextTick)\(/g;
/** A promise for which nobody waits. */
const LEFT_ALONE = /(?<=^ *|\) |else )void (?:this|look)\b[^;]*;/gm;
/** What cannot throw: settles a promise, ends a timer, a process or a socket, or logs. */
const CANNOT_THROW =
  /^(resolve|reject|clear(Timeout|Interval)|set(Timeout|Immediate)|unref|ref|kill|destroy|abort|close|warn|info|error|tell|fail|Error|MoultError|now|filter|some)$/;
/** Callbacks in which something is called that is not of these, each with why it does not throw. */
const LISTED: Readonly<Record<string, string>> = {
  'supervisor/takeover/outgoing-takeover.ts: void this.#parts.shutdown.stop();':
    'what it asks of others is caught, the rest only closes',
  'supervisor/restart/health-check.ts: () => { socket.destroy(); resolve(); }, Math.min(': 'of numbers',
  'supervisor/serving/shutdown.ts: () => { for (const one of this.#own()) { log.warn(':
    'only reads what is known',
  'supervisor/restart/exclusive-changeover.ts: () => { for (const one of generations.own()) { log':
    'only reads what is known, and kills',
  'supervisor/hang-ups.ts: settle, SETTLE_MS': 'what it reads is caught; a restart tells by its promise',
  'supervisor/listeners/held-listeners.ts: () => { const held = this.#held.get(name); if (hel':
    'its calls of the system return their failure, which means that it is closed',
  'supervisor/process/process-tree.ts: () => { const isGone = hasEnded(pid, ticks); const':
    'both say that they do not know, or that it lives',
  'supervisor/process/wrapper-process.ts: () => { if (generation.exit === undefined) step();':
    'signals return their failure',
  'supervisor/output/whole-lines.ts: () => this.flush(), REST_MS':
    'a stream tells of what cannot be written by an event',
  'os/files/whole-writes.ts: () => { exchange.isLate = true; if (this.#exchange':
    'what the supervisor does then settles a promise',
  'channel/channel.ts: () => { this.#dropOutbox(); this.#end(); this.#soc': 'only closes',
  'channel/line.ts: () => this.other?.receive(message as Message, inco':
    'a handler that throws here is a bug: for the last resort',
  'os/deadline.ts: () => { setImmediate(() => { if (!this.#isOver) st': 'who sets it settles promises by it',
  'os/deadline.ts: () => { if (!this.#isOver) strike(); }': 'as above',
  'os/descriptors/descriptor-reserve.ts: () => { this.#timer = undefined; this.#refill(); }':
    'socket() returns its failure',
  'service-manager/service-manager.ts: () => this.#notifier?.extendTimeout(EXTEND_BY_MS)':
    'a notifier tells of failures once',
  "dashboard/page-stream.ts: () => send(': alive\\n\\n'), KEEP_ALIVE_MS":
    'a response that has gone tells by a callback',
  'node/http/standstill.ts: look, WRITE_LOOK_MS': 'only in a service',
  'node/listening/own-accept.ts: () => { if (!this.#isClosed) this.#handle.readStar':
    'a handle returns its failure',
  'service/overseer/first-output.ts: () => writeWhole(fd, bytes, then), AGAIN_MS': 'only in a service',
  'service/overseer/supervisor-link.ts: () => process.exit(), END_TIMEOUT_MS': 'only in a service',
  'service/overseer/supervisor-link.ts: () => process.exit()': 'only in a service',
  'traces/restart-traces.ts: () => { const isOver = open.hasTakenOver && open.i':
    'a span that ends is only put in a queue',
  'service-manager/sd-notify.ts: () => this.#flush(), RETRY_MS': 'what it tries is caught',
};

interface Callback {
  readonly where: string;
  readonly what: string;
  /** What it calls that may throw. */
  readonly calls: readonly string[];
}

function callbacksIn(where: string, source = sourceOf(where)): Callback[] {
  const text = source.replace(/\/\*.*?\*\/|\/\/[^\n]*$/gms, '');
  const timers = [...text.matchAll(CALLS_BACK)].map(({ index, 0: call }) =>
    argumentsFrom(text, index + call.length),
  );
  const alone = [...text.matchAll(LEFT_ALONE)].map(([statement]) => statement.trim());
  return [...timers, ...alone].map((body) => ({
    where,
    what: body.replaceAll(/\s+/g, ' ').slice(0, 50).trim(),
    calls: isCaught(body) ? [] : bareCallsOf(body, text),
  }));
}

/** What stands between the parentheses of a call, of which the first is open. */
function argumentsFrom(text: string, start: number): string {
  let depth = 1;
  let end = start;
  for (; depth > 0; end += 1) {
    if (text[end] === '(') depth += 1;
    if (text[end] === ')') depth -= 1;
  }
  return text.slice(start, end - 1);
}

function isCaught(body: string): boolean {
  return /\bcatch\b/.test(body);
}

function bareCallsOf(body: string, text: string): string[] {
  const named = /^(?:this\.)?#?(\w+)(?:,|$)/.exec(body)?.[1];
  if (named !== undefined) {
    if (CANNOT_THROW.test(named)) return [];
    return isCaught(ownMethod(named, text)) ? [] : [named];
  }
  const code = body.replaceAll(/`[^`]*`|'[^']*'/g, '');
  return [...code.matchAll(/(\w+)\??\.?\(/g)]
    .map(([, name = '']) => name)
    .filter((name) => !isCaught(ownMethod(name, text)))
    .filter((name) => !CANNOT_THROW.test(name) && !/^(if|for|while|return|async|of)$/.test(name));
}

/** A method or function of the same file. */
function ownMethod(name: string, text: string): string {
  const start = new RegExp(`^( +)(?:const |async |readonly )*#?${name}(?: = |\\()`, 'm').exec(text);
  if (start === null) return '';
  const from = text.slice(start.index);
  const end = new RegExp(`^${start[1]}\\}`, 'm').exec(from);
  return from.slice(0, end?.index);
}

describe('what is called back in the supervisor, with nobody around it who catches', () => {
  const all = supervisorFiles().flatMap((file) => callbacksIn(file));

  it('is found by this test', () => {
    assert.ok(all.length > 40, String(all.length));
    for (const where of [
      'supervisor/serving/folder-guard.ts',
      'channel/channel.ts',
      'service-manager/sd-notify.ts',
    ])
      assert.ok(
        all.some((one) => one.where === where),
        where,
      );
  });

  it('is found in each room, where one is planted that may throw', () => {
    const rooms = new Map(supervisorFiles().map((file) => [file.split('/')[0], file]));
    assert.ok(rooms.size > 15, [...rooms.keys()].join());
    for (const file of rooms.values()) {
      const before = callbacksIn(file).filter(({ calls }) => calls.length > 0).length;
      for (const planted of [
        "setTimeout(() => statSync('x'), 5);",
        "setInterval(() => {\n  const text = readFileSync('x', 'utf8');\n  this.#learn(text);\n}, 5).unref();",
        'setImmediate(start);\nfunction start(): void {\n  spawnSync("x");\n}',
        'process.nextTick(() => socket.write(text));',
      ]) {
        const found = callbacksIn(file, `${sourceOf(file)}\n${planted}\n`);
        assert.equal(
          found.filter(({ calls }) => calls.length > 0).length,
          before + 1,
          `${planted} in ${file}`,
        );
      }
    }
  });

  it('catches what may throw, or calls only what does not', () => {
    const bare = all.filter(
      ({ where, what, calls }) => calls.length > 0 && LISTED[`${where}: ${what}`] === undefined,
    );
    assert.deepEqual(
      bare.map(({ where, what, calls }) => `${where}: ${what} → ${calls.join(', ')}`),
      [],
    );
  });

  it('is listed only where it is', () => {
    for (const place of Object.keys(LISTED))
      assert.ok(
        all.some(({ where, what, calls }) => calls.length > 0 && `${where}: ${what}` === place),
        place,
      );
  });
});
