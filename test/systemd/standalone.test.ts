import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Load } from '#moult/verify/load.js';
import { fixture, until } from '../integration/supervised.js';
import { freePort } from '../support/free-ports.js';
import { startLoad } from '../support/load.js';
import { PACE } from '../support/pace.js';
import { Lab, whyNoLab } from './lab.js';
import { assertPerfect } from './unit.js';

const EVERYBODY = { 'kept-alive': 20, pipelined: 5, 'slow-body': 5, 'new-connection': 5 };

/** A unit whose main process is the service itself; it changes with each generation. */
interface Own {
  readonly name: string;
  readonly port: number;
  readonly pidFile: string;
  behave(how: string): void;
  systemctl(verb: string): Promise<{ code: number | null; output: string }>;
  property(name: string): Promise<string>;
  load(clients?: Record<string, number>): Load;
  log(): string;
}

async function install(lab: Lab, name: string, more: readonly string[] = []): Promise<Own> {
  const at = (file: string) => path.join(lab.shared, `${name}.${file}`);
  const port = await freePort();
  writeFileSync(at('behaviour'), 'good');
  const options = JSON.stringify({ probationMs: 300, drainTimeoutMs: 3000 }).replaceAll('"', '\\"');
  lab.unit(
    `${name}.service`,
    [
      '[Service]',
      'Type=notify',
      // Each generation speaks for itself, before it is the main process.
      'NotifyAccess=all',
      `ExecStart=${process.execPath} ${fixture('alone.mjs')}`,
      'ExecReload=/bin/kill -HUP $MAINPID',
      // A main process that was not started by systemd itself is killed at once when nothing waits for its end.
      "ExecStop=/bin/sh -c 'kill -TERM $MAINPID; while kill -0 $MAINPID 2>/dev/null; do sleep 0.1; done'",
      'FileDescriptorStoreMax=16',
      `Environment=PORT=${port} PID_FILE=${at('pid')} BEHAVIOUR=${at('behaviour')} XDG_RUNTIME_DIR=${lab.shared}`,
      `Environment="OPTIONS=${options}"`,
      `StandardOutput=append:${at('log')}`,
      `StandardError=append:${at('log')}`,
      ...more,
      '',
    ].join('\n'),
  );
  await lab.systemctl('daemon-reload');
  const service = `${name}.service`;
  return {
    name,
    port,
    pidFile: at('pid'),
    behave: (how) => writeFileSync(at('behaviour'), how),
    systemctl: (verb) => lab.run('systemctl', verb, service),
    property: (property) => lab.property(service, property),
    load: (clients = EVERYBODY) =>
      startLoad({
        target: { host: '127.0.0.1', port },
        check: 'echo',
        clients,
        thinkMs: 20 * PACE,
        requestTimeoutMs: 60_000,
        connectTimeoutMs: 60_000,
      }),
    log: () => readFileSync(at('log'), 'utf8'),
  };
}

describe('a service that restarts itself, under systemd', { skip: whyNoLab() }, () => {
  let lab: Lab;
  before(async () => {
    lab = await Lab.boot(undefined);
  });
  after(() => lab?.halt());

  it('changes its main process with each reload, and loses nothing', async () => {
    const unit = await install(lab, 'own');
    assert.equal((await unit.systemctl('start')).code, 0, await status(unit));
    const load = unit.load();
    for (let generation = 2; generation <= 5; generation += 1) {
      const pid = await unit.property('MainPID');
      assert.equal((await unit.systemctl('reload')).code, 0);
      // The new one is the main process when it has proved itself.
      await until(`generation ${generation} is the main process`, async () => {
        const now = await unit.property('MainPID');
        return now !== pid && now === readFileSync(unit.pidFile, 'utf8').trim();
      });
      await until('the predecessor has ended', () => unit.log().split('"event":"end"').length === generation);
      assert.equal(await unit.property('ActiveState'), 'active');
      assert.match(await unit.property('StatusText'), new RegExp(`generation ${generation} serves`));
    }
    assertPerfect(await load.stop(), unit);
    assert.equal((await unit.systemctl('stop')).code, 0);
    assert.equal(await unit.property('Result'), 'success', await status(unit));
  });

  it('stays active when a reload fails, and its status says why', async () => {
    const unit = await install(lab, 'own-failing');
    await unit.systemctl('start');
    const load = unit.load();
    const pid = await unit.property('MainPID');
    unit.behave('throws');
    await unit.systemctl('reload');
    await until('the status says why', async () =>
      /restart failed .*MOULT_SUCCESSOR_EXITED.*generation 1 serves/.test(await unit.property('StatusText')),
    );
    assert.equal(await unit.property('ActiveState'), 'active');
    assert.equal(await unit.property('MainPID'), pid);
    assertPerfect(await load.stop(), unit);
    await unit.systemctl('stop');
  });

  it('refuses no new client when the unit is restarted or crashes: systemd stored the listener', async () => {
    const unit = await install(lab, 'own-stored', ['Restart=on-failure', 'RestartSec=100ms']);
    await unit.systemctl('start');
    await until('the listener is stored', async () => (await unit.property('NFileDescriptorStore')) === '1');
    const load = unit.load({ 'new-connection': 10 });
    for (let n = 0; n < 2; n += 1)
      assert.equal((await unit.systemctl('restart')).code, 0, await status(unit));
    const report = await load.stop();
    assertPerfect(report, unit);
    const pid = Number(await unit.property('MainPID'));
    const waiting = unit.load({ 'new-connection': 10 });
    await lab.run('systemctl', 'kill', '-s', 'KILL', `${unit.name}.service`);
    await until('it is up again', async () => {
      const now = Number(await unit.property('MainPID'));
      return now !== pid && now !== 0 && (await unit.property('ActiveState')) === 'active';
    });
    const { failures } = await waiting.stop();
    // What a process had accepted when it was killed is gone with it; nobody was refused.
    assert.deepEqual(
      failures.filter(({ reason }) => reason === 'refused'),
      [],
    );
    await unit.systemctl('stop');
    assert.equal(await unit.property('NFileDescriptorStore'), '0');
  });
});

async function status(unit: Own): Promise<string> {
  return `${(await unit.systemctl('status')).output}\n${unit.log()}`;
}
