import assert from 'node:assert/strict';
import { Socket } from 'node:net';
import { describe } from 'node:test';
import type { TLSSocket } from 'node:tls';
import { refreshTimeout } from '#moult/node/tls-socket-base.js';
import { until } from '../support/events.js';
import { tidy } from '../support/tidy.js';

describe('the time-out of a socket', () => {
  tidy('begins anew without a write on its handle', async (later) => {
    const socket = new Socket() as TLSSocket & Record<symbol, { readonly _idleStart: number }>;
    later(() => socket.destroy());
    refreshTimeout(socket);
    socket.setTimeout(60_000);
    const symbol = Object.getOwnPropertySymbols(socket).find(({ description }) => description === 'timeout');
    assert.ok(symbol !== undefined, 'no timer');
    const begunAt = () => socket[symbol]?._idleStart ?? 0;
    const first = begunAt();
    await until(() => {
      refreshTimeout(socket);
      return begunAt() > first;
    }, 'a later beginning');
  });
});
