import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { join } from 'node:path';
import { it } from 'node:test';
import { IgnoredPaths } from '#moult/dev/ignored-paths.js';
import { nodemonSettings } from '#moult/dev/nodemon-settings.js';
import { devCommand } from '#moult/dev/script-command.js';
import { freePort } from '../support/free-ports.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { cli, until } from './supervised.js';

function source(version: string): string {
  // The tab may ask nothing for longer than the five seconds that Node keeps its connection.
  return `require('node:http').createServer({ keepAliveTimeout: 600_000 }, (_, response) => response.end('${version}'))
    .listen(Number(process.env.PORT), '127.0.0.1');`;
}

/** One connection for all requests, as a browser tab has it. */
class Tab {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 });
  readonly #port: number;
  readonly ports = new Set<number | undefined>();

  constructor(port: number) {
    this.#port = port;
  }

  get(): Promise<string> {
    return new Promise((resolve, reject) => {
      const asked = request({ host: '127.0.0.1', port: this.#port, agent: this.#agent }, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk;
        });
        response.once('end', () => resolve(text));
      });
      asked.once('socket', (socket) => {
        const note = () => this.ports.add(socket.localPort);
        if (socket.connecting) socket.once('connect', note);
        else note();
      });
      asked.once('error', reject).end();
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}

it('restarts on change, keeps the last good one where a save is broken, and never loses its port', async (t) => {
  let remove = () => {};
  const folder = temporaryFolder((end) => {
    remove = end as () => void;
  });
  const { NODE_OPTIONS: _, NODE_TEST_CONTEXT: __, ...around } = process.env;
  const port = await freePort();
  const env = {
    ...around,
    XDG_RUNTIME_DIR: join(folder, 'run'),
    PWD: folder,
    NO_COLOR: '1',
    PORT: String(port),
  };
  const write = (name: string, text: string) => writeFileSync(join(folder, name), text);
  write('package.json', '{ "name": "shop" }');
  write('.gitignore', 'made.js\n');
  write('server.js', source('one'));
  const running: ChildProcess[] = [];
  const dev = () => {
    const child = spawn(process.execPath, [cli, 'dev', 'server.js'], { cwd: folder, env });
    running.push(child);
    const said = { text: '', ended: new Promise((resolve) => child.once('exit', resolve)), child };
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (chunk: string) => {
        said.text += chunk;
      });
    return said;
  };
  t.after(async () => {
    for (const child of running) child.kill('SIGKILL');
    await new Promise((resolve) =>
      spawn(process.execPath, [cli, 'stop', 'shop-dev'], { cwd: folder, env }).once('exit', resolve),
    );
    remove();
  });
  const first = dev();
  const tab = new Tab(port);
  t.after(() => tab.close());
  const serves = (version: string) =>
    until(`${version} serves`, () =>
      tab.get().then(
        (text) => text === version,
        () => false,
      ),
    ).catch((error: Error) => assert.fail(`${error.message}:\n${first.text}`));
  await serves('one');
  write('server.js', source('two'));
  await serves('two');
  // A save that does not start, and what is in .gitignore: the last good one serves on.
  write('server.js', 'this is no program');
  await until('the error is on the screen', () =>
    /SyntaxError[\s\S]*serving now: +the predecessor/.test(first.text),
  );
  assert.equal(await tab.get(), 'two');
  const before = first.text;
  write('made.js', 'something new');
  write('server.js', source('three'));
  await serves('three');
  assert.doesNotMatch(first.text.slice(before.length), /made\.js/);
  assert.equal(tab.ports.size, 1, 'the connection of the tab stays');

  // Killed, it leaves its service, and the next one has it at once.
  first.child.kill('SIGKILL');
  await first.ended;
  assert.equal(await tab.get(), 'three');
  write('server.js', source('four'));
  const next = dev();
  await until('the next one has restarted it', () => /generation \d+ serves after/.test(next.text));
  await serves('four');
  assert.doesNotMatch(`${first.text}${next.text}`, /EADDRINUSE/);
  // As a terminal does that is closed.
  next.child.kill('SIGHUP');
  assert.equal(await next.ended, 0, next.text);
  await assert.rejects(tab.get(), 'the service has ended');
});

it('says that its supervisor cannot be started, and tries again with the next change', async (t) => {
  let remove = () => {};
  const folder = temporaryFolder((end) => {
    remove = end as () => void;
  });
  const [app, away, beside] = ['app', 'away', 'beside'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  for (const path of [app, beside]) mkdirSync(path);
  writeFileSync(join(app, 'server.js'), source('one'));
  const { NODE_OPTIONS: _, NODE_TEST_CONTEXT: __, ...around } = process.env;
  const port = String(await freePort());
  const env = { ...around, XDG_RUNTIME_DIR: join(folder, 'run'), PWD: app, NO_COLOR: '1', PORT: port };
  const moult = (...words: string[]) => spawn(process.execPath, [cli, ...words], { cwd: app, env });
  const stop = () =>
    new Promise((resolve) =>
      spawn(process.execPath, [cli, 'stop', 'server-dev'], { cwd: folder, env }).once('exit', resolve),
    );
  const dev = moult('dev', '--watch', beside, 'server.js');
  t.after(async () => {
    dev.kill('SIGKILL');
    await stop();
    remove();
  });
  let text = '';
  for (const stream of [dev.stdout, dev.stderr])
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
  const says = (what: RegExp) =>
    until(`it says ${what}`, () => what.test(text)).catch((error: Error) =>
      assert.fail(`${error.message}:\n${text}`),
    );
  const serves = () =>
    fetch(`http://127.0.0.1:${port}`).then(
      (response) => response.ok,
      () => false,
    );
  await until('it serves', serves);
  await stop();
  await says(/it ended/);
  renameSync(app, away);
  writeFileSync(join(beside, 'one.js'), '1');
  await says(/could not be started: .*ENOENT/);
  renameSync(away, app);
  writeFileSync(join(beside, 'two.js'), '2');
  await until('it serves again', serves);
  assert.equal(dev.exitCode, null, text);
});

it('leaves out what .gitignore and nodemon.json say', (t) => {
  const folder = temporaryFolder((end) => t.after(end));
  mkdirSync(join(folder, '.git'));
  mkdirSync(join(folder, 'app/src'), { recursive: true });
  writeFileSync(join(folder, '.gitignore'), 'dist/\n*.tmp.js\n!keep.tmp.js\n');
  writeFileSync(join(folder, 'app/.gitignore'), 'local.js\n');
  writeFileSync(
    join(folder, 'app/nodemon.json'),
    '{ "watch": ["src/**/*.ts", "config"], "ignore": ["src/made/"], "ext": "ts,json hbs" }',
  );
  const settings = nodemonSettings(join(folder, 'app'));
  assert.deepEqual(settings, { watch: ['src', 'config'], ignore: ['src/made/'], ext: ['ts', 'json', 'hbs'] });
  const ignored = new IgnoredPaths(join(folder, 'app'), settings.ignore);
  const has = (path: string, isFolder = false) => ignored.has(join(folder, 'app', path), isFolder);
  assert.deepEqual(
    ['src/a.js', 'a.tmp.js', 'keep.tmp.js', 'local.js', 'src/local.js', 'node_modules/x/i.js'].map((one) =>
      has(one),
    ),
    [false, true, false, true, true, true],
  );
  assert.deepEqual([has('dist', true), has('src/made', true), has('src', true)], [true, true, false]);
});

it('runs TypeScript by tsx where the project has it', (t) => {
  const folder = temporaryFolder((end) => t.after(end));
  assert.deepEqual(devCommand(['server.ts'], folder), ['server.ts']);
  mkdirSync(join(folder, 'node_modules/tsx'), { recursive: true });
  writeFileSync(join(folder, 'node_modules/tsx/package.json'), '{ "name": "tsx", "main": "i.js" }');
  writeFileSync(join(folder, 'node_modules/tsx/i.js'), '');
  assert.match(
    devCommand(['server.ts', '--x'], folder).join(' '),
    /^node --import file:\S+tsx\/i\.js server\.ts --x$/,
  );
  assert.deepEqual(devCommand(['server.js'], folder), ['server.js']);
});
