// Servers of mail, MQTT and WebSockets.
import path from 'node:path';

export const MESSAGE_SERVERS = [
  {
    name: 'maildev',
    version: '3.0.0',
    bin: 'maildev/dist/bin/maildev.js',
    args: ([web, smtp], folder) => [
      '--web',
      web,
      '--smtp',
      smtp,
      '--ip',
      '127.0.0.1',
      '--web-ip',
      '127.0.0.1',
      '--mail-directory',
      path.join(folder, 'mail'),
    ],
    speaks: ['http', 'smtp'],
    request: '/healthz',
  },
  {
    name: 'aedes-cli',
    version: '1.0.2',
    bin: 'aedes-cli/bin/aedes',
    args: ([port]) => ['--protos', 'tcp', '--host', '127.0.0.1', '--port', port],
    speaks: ['mqtt'],
  },
  {
    name: 'peer',
    version: '1.0.2',
    bin: 'peer/dist/bin/peerjs.js',
    args: ([port]) => ['--port', port, '--host', '127.0.0.1', '--path', '/'],
  },
  {
    name: 'gun',
    version: '0.2020.1241',
    bin: 'gun/examples/http.js',
    args: ([port]) => [port],
    env: ([port]) => ({ PORT: port, MULTICAST: 'false' }),
    request: '/gun.js',
    known: {
      remark: 'serves from a worker of node:cluster, whose connections end with it',
      said: /workers of node:cluster accept for this service/,
    },
  },
  {
    name: 'y-websocket',
    version: '2.1.0',
    bin: 'y-websocket/bin/server.cjs',
    args: () => [],
    env: ([port]) => ({ HOST: '127.0.0.1', PORT: port }),
    webSockets: '/room',
  },
];
