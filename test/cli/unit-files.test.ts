import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import { cli, runNode, withFolder } from '../integration/supervised.js';

interface Said {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** `moult systemd` in a folder. */
function systemd(folder: string, ...words: string[]): Promise<Said> {
  const env = { ...process.env, PWD: folder, NODE_OPTIONS: '' };
  return runNode([cli, 'systemd', ...words], env, process.execPath, folder);
}

/** The values of a setting, in the order of the lines. */
function values(unit: string, name: string): string[] {
  return unit
    .split('\n')
    .flatMap((line) => (line.startsWith(`${name}=`) ? [line.slice(name.length + 1)] : []));
}

describe('moult systemd', () => {
  it('prints a unit for a service, with absolute paths that keep their links', () =>
    withFolder(async (folder) => {
      mkdirSync(path.join(folder, 'v1'));
      writeFileSync(path.join(folder, 'v1/server.js'), '');
      symlinkSync('v1', path.join(folder, 'current'));
      const current = path.join(folder, 'current');
      const words = [
        '--type',
        'notify',
        '--user',
        'api',
        '--',
        '--env-file',
        'x.env',
        '--name=a',
        'server.js',
        '-v',
      ];
      const { code, stdout: unit, stderr } = await systemd(current, ...words);
      assert.equal(code, 0, stderr);
      const moult = `${process.execPath} -- ${cli}`;
      const env = path.join(current, 'x.env');
      assert.deepEqual(values(unit, 'ExecStart'), [
        `${moult} run --name a --env-file ${env} -- ${current}/server.js -v`,
      ]);
      assert.deepEqual(values(unit, 'ExecReload'), [`${moult} restart a`]);
      assert.deepEqual(values(unit, 'WorkingDirectory'), [current]);
      assert.ok(values(unit, 'Environment').includes(`PWD=${current}`));
      assert.deepEqual(values(unit, 'User'), ['api']);
      assert.deepEqual(values(unit, 'Type'), ['notify']);
    }));

  it('reloads by a signal with notify-reload, and has no command for it', () =>
    withFolder(async (folder) => {
      writeFileSync(path.join(folder, 'server.js'), '');
      const { stdout: unit } = await systemd(folder, '--type', 'notify-reload', '--', 'server.js');
      assert.deepEqual(values(unit, 'Type'), ['notify-reload']);
      assert.deepEqual(values(unit, 'ExecReload'), []);
    }));

  it('gives systemd longer to stop than moult itself takes', () =>
    withFolder(async (folder) => {
      writeFileSync(path.join(folder, 'server.js'), '');
      const words = ['--drain-timeout', '2m', '--stop-timeout', '30s', 'server.js'];
      const { stdout: unit } = await systemd(folder, '--', ...words);
      assert.deepEqual(values(unit, 'TimeoutStopSec'), ['165s']);
    }));

  it('quotes what systemd would read otherwise', () =>
    withFolder(async (folder) => {
      const odd = path.join(folder, 'a "b" 50% $HOME');
      mkdirSync(odd);
      writeFileSync(path.join(odd, 'server.js'), '');
      const { stdout: unit } = await systemd(odd, '--', '--name', 'a', 'server.js', 'x;y', '\\');
      const script = `${folder}/a \\"b\\" 50%% $$HOME/server.js`;
      assert.match(unit, new RegExp(` -- "${escaped(script)}" "x;y" "\\\\\\\\"\n`));
      assert.deepEqual(values(unit, 'WorkingDirectory'), [`${folder}/a "b" 50%% $HOME`]);
    }));

  it('writes a socket unit too, into a folder', () =>
    withFolder(async (folder) => {
      writeFileSync(path.join(folder, 'server.js'), '');
      const into = path.join(folder, 'units');
      const sockets = ['--socket', '3000', '--socket', '[::1]:3001', '--socket', '/run/a.sock'];
      const { code, stdout } = await systemd(
        folder,
        '--into',
        into,
        ...sockets,
        '--',
        '--name',
        'a',
        'server.js',
      );
      assert.equal(code, 0);
      assert.equal(stdout, `${into}/a.service\n${into}/a.socket\n`);
      assert.deepEqual(readdirSync(into).sort(), ['a.service', 'a.socket']);
      const socket = readFileSync(path.join(into, 'a.socket'), 'utf8');
      assert.deepEqual(values(socket, 'ListenStream'), ['3000', '[::1]:3001', '/run/a.sock']);
      assert.deepEqual(values(readFileSync(path.join(into, 'a.service'), 'utf8'), 'Requires'), ['a.socket']);
    }));

  it('takes the start script of the package where no command is given', () =>
    withFolder(async (folder) => {
      writeFileSync(path.join(folder, 'main.js'), '');
      const manifest = (content: object) =>
        writeFileSync(path.join(folder, 'package.json'), JSON.stringify(content));
      const command = async () =>
        values((await systemd(folder)).stdout, 'ExecStart')[0]?.replace(/^.* run /, '');
      manifest({ name: 'a', scripts: { start: 'node main.js' } });
      assert.equal(await command(), `--name a -- ${folder}/main.js`);
      manifest({ name: 'a', scripts: { start: 'NODE_ENV=x node main.js' } });
      assert.match(String(await command()), /^--name a -- \/\S*npm start$/);
      manifest({ name: 'a', main: 'main.js' });
      assert.equal(await command(), `--name a -- ${folder}/main.js`);
      manifest({ name: 'a' });
      const { code, stderr } = await systemd(folder);
      assert.equal(code, 2);
      assert.match(stderr, /expected a command, or a start script/);
    }));

  it('refuses an address that is none', () =>
    withFolder(async (folder) => {
      for (const address of ['0', '70000', 'host', '1.2.3.4', ''])
        assert.notEqual((await systemd(folder, '--socket', address, '--', 'server.js')).code, 0, address);
    }));
});

function escaped(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|"]/g, '\\$&');
}
