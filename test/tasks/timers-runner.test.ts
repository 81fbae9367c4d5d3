import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { describe, it } from 'node:test';
import { setImmediate as afterReading, setTimeout as pause } from 'node:timers/promises';
import { TimersRunner } from '#moult/tasks/runners/timers-runner.js';
import { soon } from '../support/events.js';

describe('timers', () => {
  it('run before the other generation hears that they are gone: killed in between, none is lost', async () => {
    const order: string[] = [];
    let told = () => {};
    const isTold = new Promise<void>((resolve) => {
      told = resolve;
    });
    const runner = new TimersRunner<string>('reminders', (id) => order.push(`runs ${id}`));
    runner.begin(1, undefined);
    runner.set('tea', 0, 'green');
    runner.piece
      .link(1, () => undefined)
      // What has changed goes to the other side in a microtask.
      .note(() =>
        queueMicrotask(() => {
          order.push('told');
          told();
        }),
      );
    await soon(isTold, 'the end of the timer');
    assert.deepEqual(order, ['runs tea', 'told']);
  });

  it('do not run where this process was busy, and what clears them had come meanwhile', async () => {
    const ran: string[] = [];
    const runner = new TimersRunner<string>('reminders', (id) => ran.push(id));
    runner.begin(1, undefined);
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const elsewhere = connect((server.address() as { port: number }).port, '127.0.0.1');
    const [[here]] = (await Promise.all([once(server, 'connection'), once(elsewhere, 'connect')])) as [
      [Socket],
      unknown,
    ];
    here.on('data', () => runner.clear('tea'));
    runner.set('tea', 20, 'green');
    runner.set('cake', 20, 'apple');
    await afterReading();
    elsewhere.write('clear it');
    const untilMs = Date.now() + 30;
    while (Date.now() < untilMs);
    await pause(20);
    for (const each of [here, elsewhere, server]) 'destroy' in each ? each.destroy() : each.close();
    assert.deepEqual(ran, ['cake']);
  });
});
