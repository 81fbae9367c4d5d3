import assert from 'node:assert/strict';
import { symlinkSync, writeFileSync } from 'node:fs';
import { connect, type ListenOptions } from 'node:net';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fixture, pointAt, until } from '../integration/supervised.js';
import { freePort } from '../support/free-ports.js';
import { Lab, systemdVersion, whyNoLab } from './lab.js';
import { newerSystemd } from './newer-systemd.js';
import { assertPerfect, Unit, type UnitOptions } from './unit.js';

/** Connections that move, and new ones. */
const EVERYBODY = { 'kept-alive': 20, pipelined: 5, 'slow-body': 5, 'new-connection': 5 };
/** Where everything is killed nothing is promised but to those who come: none is refused. */
const NEW_ONES = { 'new-connection': 20 };
/** What becomes of a request that a process had accepted when it was killed. */
const ENDS_OF_A_KILL: readonly string[] = ['closed-before-response', 'truncated', 'reset'];
/** The first version with Type=notify-reload. */
const NOTIFY_RELOAD_SINCE = 253;

const noLab = whyNoLab();
const own = noLab === false ? systemdVersion() : 0;

describe(`under systemd ${own || ''}`, { skip: noLab }, () => {
  // Reloads by a command, whatever the version.
  underSystemd('notify', undefined);
});

const usr = noLab === false && own < NOTIFY_RELOAD_SINCE ? newerSystemd() : undefined;
const noReload =
  own < NOTIFY_RELOAD_SINCE &&
  usr === undefined &&
  `systemd ${own} has no Type=notify-reload, and no newer one was found`;

describe('under a systemd with Type=notify-reload', { skip: noLab || noReload }, () => {
  underSystemd('notify-reload', usr);
});

function underSystemd(type: string, overUsr: string | undefined): void {
  let lab: Lab;
  const install = (options: UnitOptions) =>
    Unit.install(lab, { ...options, systemdOptions: ['--type', type, ...(options.systemdOptions ?? [])] });

  /** A service that listens at the places that the test names. */
  const installPlaces = async (name: string, more: Partial<UnitOptions> = {}) => {
    const file = path.join(lab.shared, `${name}.json`);
    const options = { name, script: fixture('places.cjs'), env: { PLACES: file }, ...more };
    const unit = await install(options);
    const place = (...places: ListenOptions[]) => writeFileSync(file, JSON.stringify(places));
    return Object.assign(unit, { place });
  };

  before(async () => {
    lab = await Lab.boot(overUsr);
  });

  after(() => lab?.halt());

  it('is active when the first generation serves, says what it serves, and stops', async () => {
    const unit = await install({ name: 'starts' });
    await unit.start();
    assert.equal(await unit.property('ActiveState'), 'active');
    const where = `tcp://127\\.0\\.0\\.1:${unit.port}`;
    assert.match(await unit.statusText(), new RegExp(`^generation 1 serves ${where} \\(process \\d+\\)$`));
    assert.equal(await unit.property('NFileDescriptorStore'), '1');
    await unit.systemctl('stop');
    assert.equal(await unit.property('Result'), 'success');
    assert.equal(await unit.property('NFileDescriptorStore'), '0', 'the store is dropped with the unit');
  });

  it('loses nothing in reloads, and keeps its main process', async () => {
    const unit = await install({ name: 'reloads' });
    await unit.start();
    const pid = await unit.mainPid();
    const load = unit.load(EVERYBODY);
    await unit.answers(load);
    for (let n = 2; n <= 4; n += 1) {
      await unit.systemctl('reload');
      assert.equal(await unit.property('ActiveState'), 'active');
      // The reload is over when the successor has taken over, not before.
      assert.match(
        await unit.statusText(),
        new RegExp(`^generation ${n} serves .* took over from generation ${n - 1} `),
      );
      await unit.answers(load);
    }
    assertPerfect(await load.stop(), unit);
    assert.equal(await unit.mainPid(), pid);
    await unit.systemctl('stop');
  });

  it('runs in slots: nothing is lost in reloads, and nobody is refused when the whole unit is restarted', async () => {
    const unit = await install({ name: 'slots', runOptions: ['--slots', '3'] });
    await unit.start();
    const everybody = unit.load(EVERYBODY);
    await unit.answers(everybody);
    await until('all slots serve', async () => /^3 of 3 slots serve /.test(await unit.statusText()));
    await unit.systemctl('reload');
    assert.match(await unit.statusText(), /^3 of 3 slots serve \(generations 4, 5, 6\)/);
    await unit.answers(everybody);
    assertPerfect(await everybody.stop(), unit);
    const load = unit.load(NEW_ONES);
    await unit.answers(load);
    await unit.systemctl('restart');
    await unit.answers(load);
    assertPerfect(await load.stop(), unit);
    await unit.systemctl('stop');
    assert.equal(await unit.property('Result'), 'success');
  });

  it('runs a worker without a port: active when it lives, reloaded, started again after a crash, never two at once', async () => {
    const beats = '/run/moult-works/beats';
    const runOptions = ['--ready-after', '500ms', '--changeover', 'exclusive'];
    const unit = await install({
      name: 'works',
      script: fixture('works.cjs'),
      env: { BEATS: beats },
      runOptions,
    });
    await unit.start();
    assert.equal(await unit.property('ActiveState'), 'active');
    await unit.says(/generation 1 serves without a listener/);
    await unit.systemctl('reload');
    const status = await unit.says(/generation 2 serves without a listener/);
    const [, pid = ''] = /generation 2 serves without a listener \(process (\d+)\)/.exec(status) ?? [];
    assert.notEqual(pid, '', status);
    await lab.run('kill', '-KILL', pid);
    await unit.says(/generation 3 serves without a listener/);
    assert.equal(await unit.property('ActiveState'), 'active');
    const lines = (await lab.run('cat', beats)).output.split('\n').filter((line) => line !== '');
    const pids = lines.map((line) => Number.parseInt(line, 10));
    const turns = pids.filter((one, i) => one !== pids[i - 1]);
    assert.equal(new Set(turns).size, turns.length, turns.join());
    assert.equal(turns.length, 3, turns.join());
    await unit.systemctl('stop');
    assert.equal(await unit.property('Result'), 'success');
  });

  it('stays active when a reload fails, and says why', async () => {
    const link = path.join(lab.shared, 'failing.cjs');
    symlinkSync(fixture('http.cjs'), link);
    const unit = await install({ name: 'failing', script: link });
    await unit.start();
    const load = unit.load(EVERYBODY);
    await unit.answers(load);
    await pointAt(link, fixture('broken/throws.mjs'));
    const { code } = await lab.run('systemctl', 'reload', unit.service);
    // systemd has no way to hear of a failed notify-reload; it has of a failed command.
    assert.equal(code, type === 'notify' ? 1 : 0);
    assert.equal(await unit.property('ActiveState'), 'active');
    const status = await unit.status();
    assert.match(status, /Status: "restart failed at \w+: .*\(MOULT_\w+\); generation 1 serves/);
    await pointAt(link, fixture('http.cjs'));
    await unit.systemctl('reload');
    assert.match(await unit.statusText(), /^generation 3 serves /);
    assertPerfect(await load.stop(), unit);
    await unit.systemctl('stop');
  });

  it('refuses no new client when the whole unit is restarted, and fails none', async () => {
    const unit = await install({ name: 'restarts' });
    await unit.start();
    const load = unit.load(NEW_ONES);
    await unit.answers(load);
    for (let n = 0; n < 3; n += 1) {
      const pid = await unit.mainPid();
      await unit.systemctl('restart');
      assert.notEqual(await unit.mainPid(), pid);
      await unit.answers(load);
    }
    assertPerfect(await load.stop(), unit);
    await unit.systemctl('stop');
  });

  it('fails nobody who keeps a connection and uses it when the whole unit is restarted', async () => {
    const unit = await install({ name: 'drains' });
    await unit.start();
    const load = unit.load(EVERYBODY);
    await unit.answers(load);
    for (let n = 0; n < 2; n += 1) {
      await unit.systemctl('restart');
      await unit.answers(load);
    }
    // Nothing moved: they were told with an answer that it was the last of their connection.
    const report = await load.stop();
    assertPerfect(report, unit);
    assert.ok(report.total.toldToClose > 0);
    await unit.systemctl('stop');
  });

  it('keeps new clients waiting, and refuses none, when every process of the unit is killed', async () => {
    const unit = await install({ name: 'crashes' });
    await unit.start();
    const load = unit.load(NEW_ONES);
    await unit.answers(load);
    for (let n = 0; n < 3; n += 1) {
      const pid = await unit.mainPid();
      await lab.systemctl('kill', '--kill-who=all', '--signal=SIGKILL', unit.service);
      await until('it is started again', async () => {
        // In this order: active is what it was, too, until the old one's end is seen.
        const isAnother = (await unit.mainPid()) !== pid;
        return isAnother && (await unit.property('ActiveState')) === 'active';
      });
      await unit.answers(load);
    }
    const { total, failures } = await load.stop();
    // Those in a killed process are lost with it; nobody was refused, timed out or got half an answer of a living one.
    assert.deepEqual(
      failures.filter(({ reason }) => !ENDS_OF_A_KILL.includes(reason)),
      [],
      unit.log(),
    );
    assert.ok(total.failed <= 3 * NEW_ONES['new-connection'], `${total.failed} failed`);
    await unit.systemctl('stop');
  });

  it('serves on the sockets of a socket unit, over reloads and restarts', async () => {
    const unit = await install({ name: 'activated', systemdOptions: ['--socket', '127.0.0.1:PORT'] });
    await lab.systemctl('start', 'activated.socket');
    // The first client starts the service; it waits meanwhile.
    const load = unit.load(NEW_ONES);
    await unit.answers(load);
    assert.equal(await unit.property('ActiveState'), 'active');
    assert.equal(await unit.property('NFileDescriptorStore'), '0', 'the socket unit keeps it, not the store');
    await unit.systemctl('reload');
    await unit.answers(load);
    await unit.systemctl('restart');
    await unit.answers(load);
    // The socket stays when the service stops: the next client starts it again.
    await unit.systemctl('stop');
    await unit.answers(load);
    assertPerfect(await load.stop(), unit);
    await lab.systemctl('stop', 'activated.socket', unit.service);
  });

  // What follows is the same for both types of units.
  if (type === 'notify-reload') return;

  it('keeps a socket of a socket unit that nobody claims, until a later release does', async () => {
    const other = await freePort();
    const options = ['--socket', '127.0.0.1:PORT', '--socket', `127.0.0.1:${other}`];
    const unit = await installPlaces('spare', { systemdOptions: options });
    const second = { port: other, host: '127.0.0.1' };
    unit.place({ port: unit.port, host: '127.0.0.1' });
    await lab.systemctl('start', 'spare.socket');
    await unit.start();
    assert.match(
      unit.log(),
      new RegExp(`does not listen on tcp://127.0.0.1:${other}, which the service manager`),
    );
    const waiting = unit.load(NEW_ONES, second);
    await unit.systemctl('reload');
    await unit.systemctl('restart');
    assert.equal(waiting.snapshot().total.answered, 0);
    unit.place({ port: unit.port, host: '127.0.0.1' }, second);
    await unit.systemctl('reload');
    await unit.answers(waiting);
    // What the service sees of all this: nothing.
    const seen = unit.log().match(/^SEES .*$/gm) ?? [];
    assert.ok(seen.length >= 4);
    assert.deepEqual(new Set(seen), new Set(['SEES []']));
    assertPerfect(await waiting.stop(), unit);
    await lab.systemctl('stop', 'spare.socket', unit.service);
  });

  it('keeps a Unix path over a restart, and binds it again after a stop', async () => {
    const unit = await installPlaces('path');
    const socketPath = path.join(lab.shared, 'path.sock');
    unit.place({ path: socketPath });
    await unit.start();
    const load = unit.load(NEW_ONES, { socketPath });
    await unit.answers(load);
    await unit.systemctl('restart');
    await unit.answers(load);
    assertPerfect(await load.stop(), unit);
    await unit.systemctl('stop');
    await unit.start();
    const again = unit.load(NEW_ONES, { socketPath });
    await unit.answers(again);
    assertPerfect(await again.stop(), unit);
    await unit.systemctl('stop');
  });

  it('closes a stored listener that the next start does not want', async () => {
    const unit = await installPlaces('moves', { runOptions: ['--ready-timeout', '2s'] });
    const elsewhere = { port: await freePort(), host: '127.0.0.1' };
    unit.place({ port: unit.port, host: '127.0.0.1' });
    await unit.start();
    unit.place(elsewhere);
    await unit.systemctl('restart');
    const stored = async () => (await unit.property('NFileDescriptorStore')) === '1';
    await until('what it does not listen on is stored no more', stored);
    assert.equal(await refusal(unit.port), 'ECONNREFUSED');
    const load = unit.load(NEW_ONES, elsewhere);
    await unit.systemctl('restart');
    await unit.answers(load);
    assertPerfect(await load.stop(), unit);
    await unit.systemctl('stop');
    assert.equal(await refusal(elsewhere.port), 'ECONNREFUSED');
  });

  it('goes on under systemd after moult upgrade', async () => {
    const unit = await install({ name: 'upgrades' });
    await unit.start();
    const pid = await unit.mainPid();
    const load = unit.load(EVERYBODY);
    await unit.answers(load);
    await unit.moult('upgrade', 'upgrades');
    await unit.systemctl('reload');
    assert.match(await unit.statusText(), /^generation 2 serves /);
    assert.equal(await unit.mainPid(), pid);
    assert.equal(await unit.property('NFileDescriptorStore'), '1');
    // A restart that systemd did not ask for is a reload for it all the same.
    await unit.moult('restart', 'upgrades');
    await unit.says(/^generation 3 serves .* took over from generation 2 /);
    assert.equal(await unit.property('ActiveState'), 'active');
    await unit.answers(load);
    assertPerfect(await load.stop(), unit);
    await unit.systemctl('stop');
  });

  it('is ended by the watchdog when the generation that serves hangs, and nobody is refused', async () => {
    const unit = await install({ name: 'hangs', service: ['WatchdogSec=3s'] });
    await unit.start();
    const pid = await unit.mainPid();
    const [, service] = /process (\d+)/.exec(await unit.statusText()) ?? [];
    await lab.run('kill', '-STOP', String(service));
    const load = unit.load(NEW_ONES);
    await until(
      'it is started again',
      async () => {
        // In this order: active is what it was, too, until the old one's end is seen.
        const isAnother = (await unit.mainPid()) !== pid;
        return isAnother && (await unit.property('ActiveState')) === 'active';
      },
      60_000,
    );
    await unit.answers(load);
    const { failures } = await load.stop();
    // Those that the hung process had accepted are lost with it; the others waited.
    assert.deepEqual(
      failures.filter(({ reason }) => !ENDS_OF_A_KILL.includes(reason)),
      [],
    );
    await unit.systemctl('stop');
  });

  it('with KillMode=process loses nothing when the supervisor is killed: the next one adopts', async () => {
    const unit = await install({ name: 'adopts', service: ['KillMode=process', 'WatchdogSec=0'] });
    await unit.start();
    const load = unit.load(EVERYBODY);
    await unit.answers(load);
    const pid = await unit.mainPid();
    await lab.systemctl('kill', '--kill-who=main', '--signal=SIGKILL', unit.service);
    await until('a supervisor is there again', async () => {
      // In this order: active is what it was, too, until the old one's end is seen.
      const isAnother = (await unit.mainPid()) !== pid;
      return isAnother && (await unit.property('ActiveState')) === 'active';
    });
    assert.match(await unit.statusText(), /^generation 1 serves /);
    await unit.answers(load);
    await unit.systemctl('reload');
    assert.match(await unit.statusText(), /^generation 2 serves /);
    await unit.answers(load);
    assertPerfect(await load.stop(), unit);
    await unit.systemctl('stop');
  });
}

/** How a connection to a port fails; fails when it does not. */
function refusal(port: number): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1' });
    socket.once('connect', () => {
      socket.destroy();
      reject(new Error(`somebody listens on ${port}`));
    });
    socket.once('error', ({ code }: NodeJS.ErrnoException) => resolve(code));
  });
}
