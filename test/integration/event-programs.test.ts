import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { unlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, it } from 'node:test';
import { EventProgram } from '#moult/events/event-program.js';
import { until, withFolder, withService } from './supervised.js';

const SERVICE = `
  if (require('node:fs').existsSync(process.env.BROKEN)) { console.error('no such table'); process.exit(3); }
  require('node:http').createServer((_, response) => response.end()).listen(0, '127.0.0.1');`;

function events(file: string): Record<string, unknown>[] {
  if (!existsSync(file)) return [];
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

describe('moult run --on-event', () => {
  it('hands restarts, failures and crashes on in their order, past programs that hang, fail and are not there', async () => {
    await withFolder(async (folder) => {
      const [script, broken, told] = ['service.cjs', 'broken', 'told'].map((name) =>
        path.join(folder, name),
      ) as [string, string, string];
      await writeFile(script, SERVICE);
      const programs = [
        `cat >> ${told}`,
        'sleep 1000',
        'echo no more chat >&2; exit 4',
        '/nowhere/program',
        '(',
      ];
      const runOptions = programs.flatMap((command) => ['--on-event', `exec:${command}`]);
      const options = {
        command: [script],
        env: { BROKEN: broken },
        runOptions: [...runOptions, '--probation', '200ms'],
      };
      await withService(options, async (service) => {
        await service.restart('--wait=confirmed');
        await writeFile(broken, '');
        await service.failingRestart();
        await unlink(broken);
        process.kill((await service.current()).pid, 'SIGKILL');
        const named = () => events(told).map(({ event }) => event);
        await until('the start after the crash is told', () => named().includes('revived'));
        const all = events(told).filter(({ event }) => event !== 'drained');
        // What follows it, such as that it is confirmed, may be told by now or not.
        const list = all.slice(0, all.findIndex(({ event }) => event === 'revived') + 1);
        assert.deepEqual(
          list.map(({ event, ok }) => (event === 'restart' ? `${event} ${ok}` : event)),
          ['run', 'confirmed', 'restart true', 'confirmed', 'restart false', 'crashed', 'revived'],
        );
        assert.ok(list.every((one) => one.service === 'service' && typeof one.at === 'number'));
        const failure = list.find(({ ok }) => ok === false);
        assert.match(String(failure?.output), /no such table/);
        assert.equal(list.find(({ event }) => event === 'crashed')?.signal, 'SIGKILL');
        await service.logs(/--on-event: its program exited with code 4: no more chat/);
        await service.logs(/--on-event: its program exited with code 127: .*nowhere/);
      });
      const last = events(told).map(({ event }) => event);
      assert.deepEqual(last.slice(-2), ['stop', 'drained'], 'all is told although the supervisor ends');
    });
  });
});

describe('a program that is handed events', () => {
  it('is killed when it takes too long, and what is lost meanwhile is told', async () => {
    const warnings: string[] = [];
    const warn = (what: string) => warnings.push(what);
    const program = new EventProgram({
      command: 'sleep 1000 | cat',
      service: 'api',
      cwd: '/',
      warn,
      limitMs: 50,
    });
    for (let at = 0; at < 130; at += 1) program.tell({ at, event: 'stop' });
    await until('its first run is ended', () => warnings.length >= 1);
    assert.match(warnings[0] ?? '', /did not exit within 50 ms and was killed/);
    const quick = new EventProgram({ command: 'exec cat >/dev/null', service: 'api', cwd: '/', warn });
    for (let at = 0; at < 130; at += 1) quick.tell({ at, event: 'stop' });
    await until('it is told what was lost', () => warnings.some((one) => /29 events were dropped/.test(one)));
    await Promise.all([program.close(), quick.close()]);
  });

  it('gets a line of bounded length, and no events that are of use to supervisors only', async () => {
    await withFolder(async (folder) => {
      const told = path.join(folder, 'told');
      const program = new EventProgram({
        command: `cat >> ${told}`,
        service: 'api',
        cwd: folder,
        warn: () => {},
      });
      const output = ['x'.repeat(40_000)];
      const message = `a 'quote', a "double" one, $HOME, \`id\` and a\nline`;
      program.tell({ at: 1, event: 'listened', generation: 1 });
      program.tell({ at: 2, event: 'undone', generation: 2, code: 'MOULT_ROLLED_BACK', message, output });
      program.tell({ at: 3, event: 'restart', generation: 2, message: 'x'.repeat(200_000) });
      await program.close();
      assert.deepEqual(events(told), [
        { service: 'api', at: 2, event: 'undone', generation: 2, code: 'MOULT_ROLLED_BACK', message },
        { service: 'api', at: 3, event: 'restart', generation: 2 },
      ]);
    });
  });
});
