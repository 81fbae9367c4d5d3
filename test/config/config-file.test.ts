import assert from 'node:assert/strict';
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { findConfig } from '#moult/config/find-config.js';
import type { RunFlags } from '#moult/config/options/run-options.js';
import { type ConfigContent, readConfig, servicesIn } from '#moult/config/read-config.js';
import { type GivenByCommand, refusedChanges, resolveConfig } from '#moult/config/resolve-config.js';
import type { MoultError } from '#moult/errors.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const nothingGiven: GivenByCommand = { words: [], flags: {}, cwd: '/work' };

function fileOf(content: unknown): ConfigContent {
  return { file: '/srv/app/moult.config.json', content };
}

function refusal(content: unknown): string {
  try {
    servicesIn(fileOf(content));
  } catch (error) {
    assert.equal((error as MoultError).code, 'MOULT_CONFIG_FAILED');
    return (error as MoultError).message;
  }
  return assert.fail(`${JSON.stringify(content)} is refused`);
}

describe('a schedule', () => {
  it('is one that comes', () => {
    for (const recycle of ['0 0 30 2 *', '0 0 31 4 *'])
      assert.match(refusal({ recycle }), /recycle: Expected a schedule .* it never comes/);
    assert.doesNotThrow(() => servicesIn(fileOf({ recycle: '0 4 * * *' })));
  });
});

describe('where a config file is looked for', () => {
  it('is the working folder, and from there up to the root of its package', (t) => {
    const top = temporaryFolder((end) => t.after(end));
    mkdirSync(join(top, 'app/src/deep'), { recursive: true });
    writeFileSync(join(top, 'moult.config.json'), '{}');
    // Without a package nothing above counts: it may be anybody's.
    assert.equal(findConfig(join(top, 'app/src')), undefined);
    assert.equal(findConfig(top), join(top, 'moult.config.json'));
    writeFileSync(join(top, 'app/package.json'), '{}');
    assert.equal(findConfig(join(top, 'app/src/deep')), undefined);
    writeFileSync(join(top, 'app/moult.config.mjs'), '');
    assert.equal(findConfig(join(top, 'app/src/deep')), join(top, 'app/moult.config.mjs'));
    writeFileSync(join(top, 'app/moult.config.ts'), '');
    assert.equal(findConfig(join(top, 'app')), join(top, 'app/moult.config.ts'));
  });

  it('is not passed over where it is no file', (t) => {
    const top = temporaryFolder((end) => t.after(end));
    const file = join(top, 'moult.config.json');
    mkdirSync(file);
    assert.throws(() => findConfig(top), {
      code: 'MOULT_CONFIG_FAILED',
      message: /to be a file, found something else/,
    });
    rmSync(file, { recursive: true });
    symlinkSync('nowhere', file);
    assert.throws(() => findConfig(top), { code: 'MOULT_CONFIG_FAILED', message: /leads nowhere/ });
  });

  it('keeps the links in the name of the folder', (t) => {
    const top = temporaryFolder((end) => t.after(end));
    mkdirSync(join(top, 'releases/1'), { recursive: true });
    writeFileSync(join(top, 'releases/1/moult.config.json'), '{}');
    symlinkSync('releases/1', join(top, 'current'));
    assert.equal(findConfig(join(top, 'current')), join(top, 'current/moult.config.json'));
  });
});

describe('what a config file holds', () => {
  const forms: Record<string, string> = {
    'moult.config.json': '{ "command": "server.js", "probation": "3s" }',
    'moult.config.js': 'module.exports = { command: "server.js", probation: "3s" };',
    'moult.config.mjs': 'export default async () => ({ command: "server.js", probation: "3s" });',
    'moult.config.ts': `import { defineConfig } from 'moult/config';
      interface Times { probation: string }
      const times: Times = { probation: '3s' };
      console.log('said by the file');
      setInterval(() => {}, 1000);
      export default defineConfig({ command: 'server.js', ...times });`,
    // Types alone cannot be stripped from it.
    'moult.config.mts': `enum Wait { Short = '3s' }
      export default { command: 'server.js', probation: Wait.Short };`,
  };
  for (const [name, text] of Object.entries(forms)) {
    it(`is read from ${name}`, async (t) => {
      const file = join(
        temporaryFolder((end) => t.after(end)),
        name,
      );
      writeFileSync(file, text);
      const { content } = await readConfig(file);
      assert.deepEqual(content, { command: 'server.js', probation: '3s' });
      const [service] = servicesIn({ file, content });
      assert.equal(service?.service.probation, 3000);
      // Read anew each time, whatever was read before.
      writeFileSync(file, text.replaceAll('3s', '4s'));
      assert.deepEqual((await readConfig(file)).content, { command: 'server.js', probation: '4s' });
    });
  }

  it('is refused with what is wrong, and where', async (t) => {
    const folder = temporaryFolder((end) => t.after(end));
    const failure = async (name: string, text: string) => {
      const file = join(folder, name);
      writeFileSync(file, text);
      const error = await readConfig(file).then(
        () => assert.fail(`${text} is refused`),
        (thrown: MoultError) => thrown,
      );
      assert.equal(error.code, 'MOULT_CONFIG_FAILED');
      assert.match(error.message, new RegExp(name.replaceAll('.', '\\.')));
      return error.message;
    };
    assert.match(await failure('moult.config.json', '{ "command": '), /JSON/);
    assert.match(await failure('a.mjs', 'export default {'), /Unexpected/);
    assert.match(await failure('b.mjs', 'throw new Error("no database")'), /no database/);
    assert.match(await failure('c.mjs', 'process.exit(3)'), /exited with 3/);
    assert.match(await failure('c.mjs', 'throw undefined'), /it threw undefined/);
    assert.match(await failure('c.mjs', 'throw "no url"'), /it threw 'no url'/);
    assert.match(
      await failure('c.mjs', 'throw Object.create(null)'),
      /it threw \[Object: null prototype\] \{\}/,
    );
    assert.match(await failure('d.mjs', 'export default 7'), /expected an object/);
    assert.match(
      await failure('e.mjs', 'export default { check: () => true }'),
      /check: expected plain data/,
    );
    assert.match(await failure('g.mjs', 'export default () => new Promise(() => {})'), /never settled/);
    assert.match(
      await failure('h.mjs', 'const a = { env: {} }; a.env.a = a; export default a'),
      /env\.a: expected plain data, received what it is a part of/,
    );
    assert.match(await failure('f.mjs', 'import "./missing.mjs"; export default {}'), /missing\.mjs/);
  });

  it('has no key that moult does not know, and no value that it cannot use', () => {
    assert.match(refusal({ probaton: '3s' }), /no option probaton \(did you mean probation\?\)/);
    assert.match(refusal({ 'ready-timeout': '3s' }), /did you mean readyTimeout\?/);
    assert.match(refusal({ probation: '3 weeks' }), /probation: Expected a time .* received "3 weeks"/);
    assert.match(refusal({ slots: 0 }), /slots: Expected 1 to \d+ or max, received "0"/);
    assert.match(refusal({ restart: 'sometimes' }), /restart: .*"always"/);
    assert.match(refusal({ waitReady: 'yes' }), /waitReady: .*boolean/);
    assert.match(refusal({ maxDraining: 1.5 }), /maxDraining/);
    assert.match(refusal({ command: '"unclosed' }), /command: .*quotation mark/);
    assert.match(
      refusal({ services: { api: { chek: '/' } } }),
      /services\.api\.chek \(did you mean check\?\)/,
    );
    assert.match(refusal({ services: {} }), /at least one service/);
    assert.match(refusal([]), /expected an object with options, received a list/);
    assert.match(refusal(null), /expected an object with options, received null/);
    assert.match(refusal('server.js'), /expected an object with options, received a string/);
    // What no process can be started with.
    assert.match(refusal({ env: { 'A=B': '1' } }), /env: Expected names without "=" .* received "A=B"/);
    assert.match(refusal({ env: { '': '1' } }), /env: Expected names .* received ""/);
    assert.match(refusal({ env: { A: 'x\0y' } }), /env: Expected a value without a zero byte for A/);
    assert.match(refusal({ command: ['node', 'a\0b.js'] }), /command: .* without zero bytes/);
    assert.match(refusal({ command: [''] }), /command: Expected a script or a command/);
  });

  it('starts services in the order of after, and knows those that wait for each other', () => {
    const keys = (content: unknown) => servicesIn(fileOf(content)).map(({ key }) => key);
    const services = { web: { after: ['api', 'auth'] }, api: { after: 'db' }, db: {}, auth: {} };
    assert.deepEqual(keys({ services }), ['db', 'api', 'auth', 'web']);
    assert.match(refusal({ services: { a: { after: 'b' }, b: { after: 'a' } } }), /a after b after a/);
    assert.match(refusal({ services: { a: { after: 'c' } } }), /expected one of a, received "c"/);
  });
});

describe('what holds', () => {
  const [api] = servicesIn(
    fileOf({
      env: { STAGE: 'k9-secret', PORT: 1 },
      probation: '5s',
      drainTimeout: 7,
      services: {
        api: { command: 'api.js', cwd: 'api', env: { PORT: 2 }, probation: '3s', envFile: '.env' },
      },
    }),
  );

  it('is the command line before the file before the defaults', () => {
    const given = { words: [], flags: { probation: 1000 } satisfies Partial<RunFlags>, cwd: '/work' };
    const { flags, held } = resolveConfig(given, api);
    assert.deepEqual([flags.probation, flags.drainTimeout, flags.readyTimeout], [1000, 7000, 30_000]);
    assert.deepEqual(flags.checkStatus, [200, 399]);
    const of = (key: string) => held.find((one) => one.key === key);
    assert.deepEqual(of('probation'), { key: 'probation', value: '1 s', from: 'command line' });
    assert.deepEqual(of('drainTimeout'), { key: 'drainTimeout', value: 7, from: 'file' });
    assert.deepEqual(of('readyTimeout'), { key: 'readyTimeout', value: '30 s', from: 'default' });
    assert.deepEqual(of('name'), { key: 'name', value: 'api', from: 'file' });
    assert.ok(!JSON.stringify(held).includes('k9-secret'), 'values of the environment may be secrets');
  });

  it('is the command of the file in its folder, or the one that is given where that is', () => {
    const { service } = resolveConfig(nothingGiven, api);
    assert.deepEqual(service, {
      words: ['api.js'],
      cwd: '/srv/app/api',
      envFiles: ['/srv/app/api/.env'],
      env: { STAGE: 'k9-secret', PORT: '2' },
    });
    const { service: other } = resolveConfig({ ...nothingGiven, words: ['other.js'] }, api);
    assert.deepEqual([other.words, other.cwd], [['other.js'], '/work']);
    assert.throws(() => resolveConfig(nothingGiven, undefined), { code: 'MOULT_BAD_OPTION' });
  });

  it('can change but for what a running service has from its start', () => {
    const { flags } = resolveConfig(nothingGiven, api);
    const change = (next: Partial<RunFlags>) => refusedChanges(flags, { ...flags, ...next });
    assert.deepEqual(change({ probation: 1, check: { kind: 'tcp' }, sticky: {}, log: 'debug' }), []);
    assert.deepEqual(change({ listen: ['8080'], changeover: 'exclusive' }), ['changeover', 'listen']);
    assert.deepEqual(change({ slots: 2 }), ['slots (on or off)']);
    assert.deepEqual(refusedChanges({ ...flags, slots: 2 }, { ...flags, slots: 3 }), []);
  });
});
