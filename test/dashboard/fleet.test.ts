import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { describe } from 'node:test';
import type { FleetView, PageMessage } from '#moult/dashboard/page-messages.js';
import { WatchedFleet } from '#moult/dashboard/watched-fleet.js';
import { tidy } from '../support/tidy.js';

describe('a fleet on the dashboard', () => {
  tidy('is what was known last where it cannot be reached, and says why', async (later) => {
    const view: FleetView = { name: 'moult', services: [] };
    const looks = [async () => view, () => Promise.reject(new Error('nobody is there'))];
    const heard = new EventEmitter();
    const tell = (message: PageMessage) => heard.emit('message', message);
    const look = () => (looks.shift() ?? (async () => view))();
    const watched = new WatchedFleet({ name: 'moult', look }, tell, 10);
    // It keeps no process alive by itself.
    const alive = setInterval(() => {}, 1000);
    later(() => {
      clearInterval(alive);
      watched.close();
    });
    for (const silent of [undefined, 'nobody is there', undefined]) {
      const [message] = (await once(heard, 'message')) as [PageMessage];
      assert.deepEqual(message, {
        type: 'fleet',
        fleet: { ...view, ...(silent === undefined ? {} : { silent }) },
      });
    }
  });
});
