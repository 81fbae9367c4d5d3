import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { closeDescriptor } from '#moult/os/descriptors/descriptor.js';
import { socketIdentity } from '#moult/os/sockets/socket-identity.js';
import { parseListen } from '#moult/programs/listen-option.js';
import { open } from '#moult/programs/open-sockets.js';
import { misleading, passingVariables } from '#moult/programs/passing.js';
import { programEnvironment } from '#moult/programs/start.js';

function port(fd: number): number {
  const address = socketIdentity(fd)?.address;
  return address !== undefined && 'port' in address ? address.port : -1;
}

describe('what a program is told of its sockets', () => {
  it('names them by every protocol, in their order', () => {
    const fds = ['0', '127.0.0.1:0', 'udp:127.0.0.1:0'].map((written) => open(parseListen(written, '/')));
    const [a = -1, b = -1, c = -1] = fds;
    const sockets = [
      { fd: a, tag: 'web' },
      { fd: b, tag: null },
      { fd: c, tag: 'dns' },
    ];
    assert.deepEqual(passingVariables(sockets, 7, 4711), {
      LISTEN_FDS: '3',
      LISTEN_FDNAMES: 'web:unknown:dns',
      SERVER_STARTER_PORT: `${port(a)}=3;127.0.0.1:${port(b)}=4`,
      SERVER_STARTER_GENERATION: '7',
      EINHORN_FD_COUNT: '3',
      EINHORN_FD_0: '3',
      EINHORN_FD_1: '4',
      EINHORN_FD_2: '5',
      EINHORN_MASTER_PID: '4711',
    });
    for (const fd of fds) closeDescriptor(fd);
  });

  it('says nothing where there are none', () => assert.deepEqual(passingVariables([], 1, 1), {}));

  it('removes what another starter said', () => {
    const env = {
      LISTEN_FDS: '1',
      LISTEN_PID: '1',
      EINHORN_FD_3: '9',
      NOTIFY_SOCKET: '/x',
      LISTEN: '1',
      PATH: '/',
    };
    assert.deepEqual(misleading(env).sort(), ['EINHORN_FD_3', 'LISTEN_FDS', 'LISTEN_PID', 'NOTIFY_SOCKET']);
  });

  it('gives the program its own NODE_OPTIONS back', () => {
    const env = programEnvironment({ MOULT_NODE_OPTIONS_WAS: '--x', LISTEN_FDS: '1' }, 5);
    assert.deepEqual(env, { NODE_OPTIONS: '--x', LISTEN_FDS: '1', LISTEN_PID: '5' });
  });
});
