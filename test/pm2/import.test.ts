import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { ReadConfig } from '#moult/config/config-schema.js';
import { readConfig, servicesIn } from '#moult/config/read-config.js';
import { readEcosystem } from '#moult/pm2/ecosystem.js';
import { importApp } from '#moult/pm2/import-app.js';
import { cli } from '../integration/supervised.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const APP = { name: 'api', script: 'server.js', instances: 2, exec_mode: 'cluster', env: { PORT: 3000 } };
const SHAPES: Readonly<Record<string, string>> = {
  'apps.config.js': `module.exports = { apps: [${JSON.stringify(APP)}], deploy: { production: {} } };`,
  'function.config.cjs': `module.exports = () => ({ apps: [${JSON.stringify(APP)}], deploy: {} });`,
  'exports.config.cjs': `exports.apps = ${JSON.stringify(APP)}; exports.deploy = {};`,
  'module.config.mjs': `export default { apps: [${JSON.stringify(APP)}], deploy: {} };`,
  'list.json': JSON.stringify([APP]),
  'one.json': JSON.stringify(APP),
  'process.yaml': `apps:
  - name: api
    script: server.js
    instances: 2
    exec_mode: cluster
    env:
      PORT: 3000
deploy: {}
`,
  'process.yml': 'name: api\nscript: server.js\ninstances: 2\nexec_mode: cluster\nenv: { PORT: 3000 }\n',
};

function moult(folder: string, ...words: string[]) {
  const env = { ...process.env, XDG_RUNTIME_DIR: folder, NO_COLOR: '1', PWD: folder };
  return spawnSync(process.execPath, [cli, ...words], { cwd: folder, env, encoding: 'utf8' });
}

describe('an ecosystem file of PM2', () => {
  for (const [name, text] of Object.entries(SHAPES)) {
    it(`is read as ${name}`, async (t) => {
      const file = join(
        temporaryFolder((end) => t.after(end)),
        name,
      );
      writeFileSync(file, text);
      const { apps, others } = await readEcosystem(file);
      assert.deepEqual(apps, [APP]);
      assert.deepEqual(others, text.includes('deploy') ? ['deploy'] : []);
    });
  }

  it('becomes a config file that says the same, and each of its keys is told of', async (t) => {
    const folder = temporaryFolder((end) => t.after(end));
    const api = {
      ...APP,
      args: '--color "two words"',
      cwd: './api',
      node_args: '--max-old-space-size=300',
      env_production: { PORT: 80, STAGE: 'live' },
      env_staging: { PORT: 81 },
      wait_ready: true,
      listen_timeout: 8000,
      kill_timeout: 4000,
      autorestart: true,
      instance_var: 'INSTANCE',
      max_memory_restart: '300M',
      cron_restart: '0 4 * * *',
      max_restarts: 10,
      min_uptime: '5s',
      exp_backoff_restart_delay: 100,
      shutdown_with_message: true,
      watch: ['src'],
      ignore_watch: ['node_modules'],
      out_file: './out.log',
      error_file: './err.log',
      combine_logs: true,
      log_date_format: 'YYYY',
      source_map_support: true,
      namespace: 'shop',
      treekill: true,
      vizion: false,
      increment_var: 'PORT',
      something_new: 1,
    };
    const worker = { script: './work.py', interpreter: 'python3', name: 'my worker', autorestart: false };
    const tool = { name: 'tool', script: 'npm', args: ['run', 'start'], instances: 1, stop_exit_codes: [0] };
    writeFileSync(
      join(folder, 'ecosystem.config.js'),
      `module.exports = { apps: ${JSON.stringify([api, worker, tool])}, deploy: {} };`,
    );
    const made = moult(folder, 'import', 'ecosystem.config.js', '--env', 'production');
    assert.equal(made.status, 0, made.stderr);
    for (const key of Object.keys(api)) assert.match(made.stdout, new RegExp(`^ *${key} `, 'm'), key);
    assert.match(made.stdout, /something_new +no counterpart\n +moult does not know this key/);
    assert.match(made.stdout, /^deploy: not imported/m);
    const wide = made.stdout.split('\n').filter((line) => line.length > 80 && !line.startsWith('✓ wrote'));
    assert.deepEqual(wide, []);

    const content = (await readConfig(join(folder, 'moult.config.ts'))).content as ReadConfig;
    const services = servicesIn({ file: join(folder, 'moult.config.ts'), content });
    assert.deepEqual(
      services.map(({ key }) => key),
      ['api', 'my-worker', 'tool'],
    );
    const [first, second, third] = services.map(({ service }) => service);
    assert.deepEqual(first?.command, [
      'node',
      '--max-old-space-size=300',
      '--enable-source-maps',
      'server.js',
      '--color',
      'two words',
    ]);
    assert.deepEqual(first?.env, { PORT: '80', STAGE: 'live' });
    const { slots, waitReady, readyTimeout, stopTimeout, stopSignal, instanceVar, restart, cwd } =
      first ?? {};
    assert.deepEqual(
      { slots, waitReady, readyTimeout, stopTimeout, stopSignal, instanceVar, restart, cwd },
      {
        slots: 2,
        waitReady: true,
        readyTimeout: 8000,
        stopTimeout: 4000,
        stopSignal: 'SIGINT',
        instanceVar: 'INSTANCE',
        restart: 'always',
        cwd: './api',
      },
    );
    assert.deepEqual([second?.command, second?.restart], [['python3', './work.py'], 'never']);
    assert.deepEqual(
      [third?.command, third?.restart, third?.slots],
      [['npm', 'run', 'start'], 'on-failure', undefined],
    );

    const again = moult(folder, 'import', 'ecosystem.config.js');
    assert.deepEqual([again.status, /exists: use --force/.test(again.stderr)], [2, true]);
  });

  it('has numbers of processes in all the ways of PM2', () => {
    const slots = (app: object) => importApp({ script: 'a.js', ...app }, undefined, 0, '/').service.slots;
    assert.equal(slots({ instances: 'max' }), 'max');
    assert.equal(slots({ instances: 0 }), 'max');
    assert.equal(slots({ instances: '3', exec_mode: 'cluster' }), 3);
    assert.equal(slots({ exec_mode: 'cluster' }), 1);
    assert.equal(slots({ instances: 1 }), undefined);
    assert.equal(slots({}), undefined);
    const { notes } = importApp({ script: 'a.js', instances: 2 }, undefined, 0, '/');
    assert.equal(notes.find(({ key }) => key === 'instances')?.kind, 'changed');
  });

  it('has scripts without an ending, which PM2 gives to Node', (t) => {
    const folder = temporaryFolder((end) => t.after(end));
    const command = (script: string, more = {}) =>
      importApp({ script, ...more }, undefined, 0, folder).service.command;
    writeFileSync(join(folder, 'www'), '#!/usr/bin/env node\n');
    writeFileSync(join(folder, 'plain'), 'console.log(1);\n');
    writeFileSync(join(folder, 'shell'), '#!/bin/sh\n');
    writeFileSync(join(folder, 'binary'), '\x7fELF\0\0\n');
    assert.deepEqual(command('./www'), ['node', './www']);
    assert.deepEqual(command('plain', { args: '--a' }), ['node', 'plain', '--a']);
    assert.deepEqual(command('./shell'), ['./shell']);
    assert.deepEqual(command('./binary'), ['./binary']);
    assert.deepEqual(command('npm', { args: 'start' }), ['npm', 'start']);
    assert.deepEqual(command('./www', { cwd: 'elsewhere' }), ['./www']);
  });

  it('has values that PM2 or moult does not take, which keep no other key from being taken over', () => {
    const app = {
      script: 'a.js',
      cron_restart: '0',
      max_memory_restart: 'a lot',
      kill_timeout: '2000',
      env: { A: 1 },
    };
    const { service, notes } = importApp(app, undefined, 0, '/');
    const { recycle, maxMemory, stopTimeout, env } = service;
    assert.deepEqual([recycle, maxMemory, stopTimeout, env], [undefined, undefined, '2000ms', { A: 1 }]);
    const kindOf = (key: string) => notes.find((one) => one.key === key)?.kind;
    assert.deepEqual([kindOf('cron_restart'), kindOf('max_memory_restart')], ['taken', 'none']);
    const odd = importApp({ script: 'a.js', cron_restart: 'tomorrow' }, undefined, 0, '/');
    assert.equal(odd.service.recycle, undefined);
    assert.match(odd.notes.find(({ key }) => key === 'cron_restart')?.says ?? '', /tomorrow/);
  });

  it('is refused where it has no app, and where two have one name', (t) => {
    const folder = temporaryFolder((end) => t.after(end));
    const refused = (content: unknown) => {
      writeFileSync(join(folder, 'e.json'), JSON.stringify(content));
      const { status, stderr } = moult(folder, 'import', 'e.json');
      assert.notEqual(status, 0);
      return stderr;
    };
    assert.match(refused({ apps: [] }), /expected at least one app/);
    assert.match(refused({ apps: [APP, APP] }), /two apps have the name api/);
    assert.match(refused({ apps: ['server.js'] }), /expected an app with a script/);
    assert.match(moult(folder, 'import', 'missing.js').stderr, /expected an ecosystem file at/);
  });
});

it('completes commands, options and services in bash', (t) => {
  const folder = temporaryFolder((end) => t.after(end));
  for (const shell of ['zsh', 'fish'])
    assert.match(moult(folder, 'completion', shell).stdout, /ready-timeout/);
  const script = join(folder, 'completion.bash');
  writeFileSync(script, moult(folder, 'completion', 'bash').stdout);
  execFileSync('mkdir', ['-p', join(folder, 'moult/shop'), join(folder, 'moult/shed')]);
  const complete = (...words: string[]) =>
    execFileSync(
      'bash',
      [
        '-c',
        `source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($#-1)); _moult; printf '%s\\n' "\${COMPREPLY[@]}"`,
        script,
        ...words,
      ],
      { encoding: 'utf8', env: { ...process.env, XDG_RUNTIME_DIR: folder } },
    )
      .trim()
      .split('\n');
  assert.deepEqual(complete('moult', 're'), ['restart']);
  assert.deepEqual(complete('moult', 'run', '--ready-'), ['--ready-timeout', '--ready-after']);
  assert.deepEqual(complete('moult', 'restart', 'sh').sort(), ['shed', 'shop']);
});
