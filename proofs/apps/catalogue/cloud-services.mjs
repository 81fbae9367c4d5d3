// Stand-ins for the services of cloud providers.
import path from 'node:path';

export const CLOUD_SERVICES = [
  {
    name: 'azurite',
    version: '3.37.0',
    node: 24,
    bin: 'azurite/dist/src/azurite.js',
    args: ([blob, queue, table], folder) => [
      '--silent',
      '--location',
      folder,
      '--skipApiVersionCheck',
      '--blobPort',
      blob,
      '--queuePort',
      queue,
      '--tablePort',
      table,
    ],
    speaks: ['http', 'http', 'http'],
    request: '/devstoreaccount1?comp=list',
  },
  {
    name: 'dynalite',
    version: '4.0.0',
    bin: 'dynalite/cli.js',
    args: ([port]) => ['--host', '127.0.0.1', '--port', port],
  },
  {
    name: 's3rver',
    version: '3.7.1',
    bin: 's3rver/bin/s3rver.js',
    args: ([port], folder) => [
      '--silent',
      '--directory',
      path.join(folder, 's3'),
      '--address',
      '127.0.0.1',
      '--port',
      port,
      '--configure-bucket',
      'one',
    ],
    request: '/one',
  },
];
