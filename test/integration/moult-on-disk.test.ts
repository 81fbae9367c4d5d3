// What happens to moult's own files, and to Node, while a supervisor lives: an upgrade is rehearsed, and what must start starts.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  cpSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { describe, it } from 'node:test';
import type { Channel } from '#moult/channel/channel.js';
import { Opening } from '#moult/channel/open.js';
import { closeDescriptor } from '#moult/os/descriptors/descriptor.js';
import { bindUnix } from '#moult/os/unix-sockets/unix-socket.js';
import type { Message } from '#moult/protocol/messages.js';
import { unreadablePackage } from '../support/unreadable.js';
import { withBrokenCalls } from './broken-calls.js';
import {
  fixture,
  pointAt,
  root,
  type Supervised,
  type SupervisedOptions,
  until,
  withFolder,
  withService,
} from './supervised.js';

const runOptions = ['--probation', '200ms', '--drain-timeout', '2s', '--stop-timeout', '2s'];
const command = [fixture('http.cjs')];
const restart = {
  type: 'restart',
  wait: true,
  ifBusy: 'wait',
  allowFewerListeners: false,
  untilConfirmed: false,
  whenQuiet: null,
} as const;

/** Has the moment between the answer to `moult upgrade` and the exec last long enough for a test on a busy machine. */
const lastingMoment = `--import=data:text/javascript,${encodeURIComponent(`
  const { setTimeout } = globalThis;
  if (process.argv[1]?.endsWith('cli/main.js') && process.argv[2] === 'run')
    globalThis.setTimeout = (then, ms, ...rest) => setTimeout(then, ms === 50 ? 1000 : ms, ...rest);
`)}`;

/** Lets a next program open only so many files (FREE) until it begins again. */
const limitedAtFirst = `--import=data:text/javascript,${encodeURIComponent(`
  import { execFileSync } from 'node:child_process';
  import { readdirSync } from 'node:fs';
  const { FREE, MOULT_UPGRADE, MOULT_BEGUN } = process.env;
  if (process.argv[2] === 'run' && MOULT_UPGRADE !== undefined && MOULT_BEGUN === undefined) {
    const open = new Set(readdirSync('/proc/self/fd').map(Number));
    let number = 0;
    for (let free = 0; open.has(number) || free < Number(FREE); number += 1) if (!open.has(number)) free += 1;
    execFileSync('prlimit', ['--pid', String(process.pid), '--nofile=' + number + ':']);
  }
`)}`;

/** Lets a next program not read a file of a package that it imports, until it has begun again twice. */
const unreadableAtFirst = unreadablePackage(
  "process.argv[2] === 'run' && process.env.MOULT_UPGRADE !== undefined && !(parseInt(process.env.MOULT_BEGUN) >= 2)",
);

function connect({ folder }: Supervised): Channel {
  return new Opening(folder.control, { role: 'operator' }, 5000).toChannel().on('event', () => {});
}

async function ask(channel: Channel, question: Message<'restart' | 'upgrade'>): Promise<string> {
  const answer = channel.next(['result'], 30_000);
  channel.send(question);
  const { ok, error } = await answer;
  return ok ? 'done' : (error?.code ?? '');
}

/** Copies the package, with the packages that it needs beside it. @returns the script of its command line. */
function installIn(folder: string): string {
  const modules = path.join(folder, 'node_modules');
  mkdirSync(modules, { recursive: true });
  cpSync(path.join(root, 'dist'), path.join(folder, 'dist'), { recursive: true });
  copyFileSync(path.join(root, 'package.json'), path.join(folder, 'package.json'));
  for (const name of readdirSync(path.join(root, 'node_modules')).filter((one) => !one.startsWith('.'))) {
    const from = path.join(root, 'node_modules', name);
    if (/koffi|@koromix/.test(name)) cpSync(from, path.join(modules, name), { recursive: true });
    else symlinkSync(from, path.join(modules, name));
  }
  return path.join(folder, 'dist/cli/main.js');
}

function importedBy(script: string): string[] {
  return [...readFileSync(script, 'utf8').matchAll(/chunks\/(\w+\.js)/g)].map(([, name = '']) => name);
}

/** What a process has from its exec, the random place of its stack among it. Source: getauxval(3), AT_RANDOM. */
function programOf({ pid }: Supervised): string {
  return ['environ', 'auxv'].map((name) => readFileSync(`/proc/${pid}/${name}`, 'latin1')).join();
}

function hearsHangUps({ pid }: Supervised): boolean {
  const caught = /^SigCgt:\s*([0-9a-f]+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? '0';
  return (BigInt(`0x${caught}`) & 1n) === 1n;
}

async function outlivesACrash(service: Supervised, what: string): Promise<void> {
  const pid = await service.alone();
  process.kill(pid, 'SIGKILL');
  await until(`it is back after ${what}`, async () => {
    const { generations } = await service.status();
    return generations.length === 1 && generations[0]?.pid !== pid && generations[0]?.state === 'serving';
  });
}

/** Moves something away, or writes something else there. @returns what puts it back. */
function spoil(place: string, text?: (before: string) => string): () => void {
  if (text === undefined) {
    renameSync(place, `${place}.away`);
    return () => renameSync(`${place}.away`, place);
  }
  const before = readFileSync(place, 'utf8');
  assert.notEqual(text(before), before);
  writeFileSync(place, text(before));
  return () => writeFileSync(place, before);
}

describe('moult upgrade', () => {
  it('is refused while the moult on the disk is not whole, and changes nothing', async () => {
    await withFolder(async (folder) => {
      const app = path.join(folder, 'app');
      const cli = installIn(app);
      const native = readdirSync(path.join(app, 'node_modules/@koromix'))[0] ?? 'none';
      const inFormat = 'CARRIED_FORMAT = 1';
      const formats = ['dist/cli', 'dist/chunks']
        .flatMap((place) => readdirSync(path.join(app, place)).map((name) => `${place}/${name}`))
        .filter(
          (name) => name.endsWith('.js') && readFileSync(path.join(app, name), 'utf8').includes(inFormat),
        );
      const half = (text: string) => text.slice(0, text.length / 2);
      assert.ok(formats.length > 0);
      const breaks: [string, ((before: string) => string)?][] = [
        ['dist'],
        ['dist/cli'],
        // Those that the first file loads before all others.
        ...importedBy(path.join(app, 'dist/cli/main.js')).map((name): [string] => [`dist/chunks/${name}`]),
        ['dist/service/preload.cjs'],
        ['dist/standalone/service-bundle.cjs'],
        ['dist/cli/begin-again.cjs'],
        ['package.json'],
        ['node_modules/commander'],
        ['node_modules/koffi'],
        [`node_modules/@koromix/${native}`],
        ['dist/cli/main.js', () => 'this is no program'],
        ['dist/cli/main.js', half],
        ['dist/standalone/service-bundle.cjs', half],
        ...formats.map((name): [string, (before: string) => string] => [
          name,
          (text) => text.replace(inFormat, 'CARRIED_FORMAT = 0'),
        ]),
        ['dist/cli/main.js', () => 'process.exit(0);'],
      ];
      await withBrokenCalls({ command, runOptions, cli }, async (service) => {
        const { pid } = await service.current();
        const { startedAt } = await service.status();
        const mendBundle = spoil(path.join(app, 'dist/standalone/service-bundle.cjs'), half);
        service.process.kill('SIGPWR');
        await service.logs(/injected into a callback/);
        await service.logs(
          /the supervisor could not restart itself .*MOULT_UPGRADE_FAILED|the supervisor could not restart itself .*could not take over/,
        );
        mendBundle();
        for (const [name, text] of breaks) {
          const what = `${name}${text === undefined ? '' : ` ${text}`}`;
          const mend = spoil(path.join(app, name), text);
          const { code, stderr } = await service.moult('upgrade', service.name);
          mend();
          assert.equal(code, 1, `${what}: ${stderr}`);
          assert.match(stderr, /MOULT_UPGRADE_FAILED/, what);
          assert.equal((await service.status()).startedAt, startedAt, what);
        }
        assert.equal((await service.current()).pid, pid);
        await service.restart();
        await service.alone();
        const { code, stderr } = await service.moult('upgrade', service.name);
        assert.equal(code, 0, stderr);
        assert.notEqual((await service.status()).startedAt, startedAt);
        await outlivesACrash(service, 'an upgrade');
      });
    });
  });

  it('has who comes in the moment of it answered by the next program', async () => {
    await withService({ command, runOptions, nodeFlags: [lastingMoment] }, async (service) => {
      const before = (await service.status()).startedAt;
      const upgrade = connect(service);
      const open = connect(service);
      assert.equal(await ask(upgrade, { type: 'upgrade' }), 'done');
      assert.equal(await ask(open, restart), 'MOULT_RESTART_IN_PROGRESS');
      const answers = await Promise.all([service.restart(), service.moult('status', service.name, '--json')]);
      assert.equal(answers[0].generation, 2);
      assert.equal(answers[1].code, 0, answers[1].stderr);
      assert.notEqual((await service.status()).startedAt, before);
      for (const channel of [upgrade, open]) channel.close();
    });
  });

  it('has a restart begun by the next program that was asked for in the moment of it', async () => {
    await withService({ command, runOptions, nodeFlags: [lastingMoment] }, async (service) => {
      const upgrade = connect(service);
      const open = connect(service);
      assert.equal(await ask(upgrade, { type: 'upgrade' }), 'done');
      // By a signal, and by a command that was connected already.
      service.process.kill('SIGHUP');
      assert.equal(await ask(open, restart), 'MOULT_RESTART_IN_PROGRESS');
      for (const channel of [upgrade, open]) channel.close();
      await service.logs(/generation 2 took over from 1/);
      // As soon as the program hears it, long before it has loaded the rest.
      const again = connect(service);
      const { startedAt } = await service.alone().then(() => service.status());
      const before = programOf(service);
      assert.equal(await ask(again, { type: 'upgrade' }), 'done');
      await until('it is another program', () => programOf(service) !== before);
      await until('it hears SIGHUP', () => hearsHangUps(service));
      service.process.kill('SIGHUP');
      await service.logs(/generation 3 took over from 2/);
      assert.notEqual((await service.status()).startedAt, startedAt);
      again.close();
    });
  });
});

describe('the next program of a supervisor', () => {
  it('begins again where it may open too few descriptors to load, or cannot read a file', async () => {
    const ways: [string, Record<string, string>, RegExp][] = [
      [limitedAtFirst, { FREE: '1' }, /EMFILE/],
      [limitedAtFirst, { FREE: '5' }, /EMFILE/],
      [unreadableAtFirst, {}, /EIO/],
    ];
    for (const [flag, env, reason] of ways) {
      await withService({ command, runOptions, nodeFlags: [flag], env }, async (service) => {
        const { pid } = await service.current();
        const { startedAt } = await service.status();
        const upgrade = await service.moult('upgrade', service.name);
        assert.equal(upgrade.code, 0, upgrade.stderr);
        const line = await service.writes(/could not be loaded, and begins again: .*/);
        assert.match(String(line), reason);
        await until('it is another program', async () => {
          const now = await service.status().catch(() => undefined);
          return now?.state === 'serving' && now.startedAt !== startedAt;
        });
        assert.equal((await service.current()).pid, pid);
        await service.restart();
      });
    }
  });

  it('is not begun where it could not load beside what is held', async () => {
    const listeners = 40;
    await withFolder(async (folder) => {
      const env = { COUNT: String(listeners), SOCKETS: folder };
      const options = { command: [fixture('many-listeners.mjs')], runOptions, env };
      await withBrokenCalls(options, async (service) => {
        const { pid } = await service.current();
        // Enough for a program that holds none, and not for one that holds those.
        const most = listeners + 30;
        execFileSync('prlimit', ['--pid', String(service.pid), `--nofile=${most}:${most}`]);
        service.process.kill('SIGPWR');
        await service.logs(/the supervisor could not restart itself .*EMFILE/);
        process.kill(pid, 0);
        assert.equal(service.isOver, false);
      });
    });
  });
});

describe('the control socket of a supervisor that is upgraded', () => {
  it('is found again, whenever in the upgrade it was removed, or something lay in its place', async () => {
    await withService({ command, runOptions, nodeFlags: [lastingMoment] }, async (service) => {
      const { path: folder, control } = service.folder;
      const remove = () => rmSync(control, { force: true });
      const leaveDeadSocket = () => {
        remove();
        const fd = bindUnix(control);
        assert.equal(typeof fd, 'number', String(fd));
        closeDescriptor(Number(fd));
      };
      const cases: [string, { before?: () => void; within?: () => void; after?: () => void }][] = [
        ['removed before it is rehearsed', { before: remove }],
        ['removed before the exec', { within: remove }],
        ['replaced before the exec by a socket on which nobody listens', { within: leaveDeadSocket }],
        ['removed after the exec', { after: remove }],
        ['gone with the folder after the exec', { after: () => rmSync(folder, { recursive: true }) }],
      ];
      for (const [what, moments] of cases) {
        const { pid } = service;
        const channel = connect(service);
        const first = programOf(service);
        moments.before?.();
        assert.equal(await ask(channel, { type: 'upgrade' }), 'done', what);
        moments.within?.();
        await until(`it is another program, ${what}`, () => programOf(service) !== first);
        moments.after?.();
        channel.close();
        await until(`it is found, ${what}`, async () => {
          const found = await service.status().catch(() => undefined);
          return found?.pid === pid && found.state === 'serving';
        });
      }
      await service.restart();
    });
  });
});

describe('a supervisor whose own files are gone', () => {
  for (const [how, lost] of [
    ['removed', '.'],
    ['half removed', 'dist/standalone'],
    ['left without koffi', 'node_modules/koffi'],
  ] as const) {
    it(`restarts and revives its service, where the package was ${how}`, async () => {
      await withFolder(async (folder) => {
        const app = path.join(folder, 'app');
        const cli = installIn(app);
        await withService({ command, runOptions, cli }, async (service) => {
          rmSync(path.join(app, lost), { recursive: true });
          await service.restart();
          await outlivesACrash(service, how);
          await service.restart();
        });
      });
    });
  }

  it('finds them by the path by which it was called, behind a link', async () => {
    await withFolder(async (folder) => {
      const link = path.join(folder, 'current');
      installIn(path.join(folder, 'one'));
      symlinkSync(path.join(folder, 'one'), link);
      const options: SupervisedOptions = { command, runOptions, cwd: link, cli: 'dist/cli/main.js' };
      await withService(options, async (service) => {
        installIn(path.join(folder, 'two'));
        await pointAt(link, path.join(folder, 'two'));
        rmSync(path.join(folder, 'one'), { recursive: true });
        await service.restart();
        const { pid } = await service.current();
        const environment = readFileSync(`/proc/${pid}/environ`, 'utf8');
        assert.match(environment, new RegExp(`--require="${path.join(folder, 'two')}/`));
        await outlivesACrash(service, 'the release was removed');
        const { code, stderr } = await service.moult('upgrade', service.name);
        assert.equal(code, 0, stderr);
      });
    });
  });

  it('serves on where no copy can be made, and says so', async () => {
    await withFolder(async (folder) => {
      const app = path.join(folder, 'app');
      const cli = installIn(app);
      await withService({ command, runOptions, cli }, async (service) => {
        const { pid } = await service.current();
        rmSync(path.join(app, 'dist'), { recursive: true });
        writeFileSync(path.join(service.folder.path, 'program'), 'in the way');
        await service.failingRestart();
        await service.logs(/no copy could be made/);
        assert.equal((await service.current()).pid, pid);
      });
    });
  });

  it('starts its service with the Node that it runs, where that was removed', async () => {
    await withFolder(async (folder) => {
      const node = path.join(folder, 'bin/node');
      mkdirSync(path.dirname(node));
      try {
        linkSync(process.execPath, node);
      } catch {
        copyFileSync(process.execPath, node);
      }
      await withService({ command, runOptions, node, env: { PATH: '/nowhere' } }, async (service) => {
        rmSync(path.join(folder, 'bin'), { recursive: true });
        const channel = connect(service);
        assert.equal(await ask(channel, restart), 'done');
        channel.close();
        await outlivesACrash(service, 'Node was removed');
      });
    });
  });
});
