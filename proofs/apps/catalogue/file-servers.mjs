// Servers of the files in a folder.
import { page } from './page.mjs';

export const FILE_SERVERS = [
  {
    name: 'http-server',
    version: '14.1.1',
    bin: 'http-server/bin/http-server',
    prepare: page,
    args: ([port], folder) => [folder, '-p', port, '-a', '127.0.0.1', '-s', '-c-1'],
  },
  {
    name: 'serve',
    version: '14.2.7',
    bin: 'serve/build/main.js',
    prepare: page,
    args: ([port], folder) => ['-l', `tcp://127.0.0.1:${port}`, '-L', '--no-clipboard', folder],
  },
  {
    name: 'local-web-server',
    version: '5.4.0',
    bin: 'local-web-server/bin/cli.js',
    prepare: page,
    args: ([port], folder) => ['--hostname', '127.0.0.1', '--port', port, '--directory', folder],
  },
  {
    name: 'sirv-cli',
    version: '3.0.1',
    bin: 'sirv-cli/bin.js',
    prepare: page,
    args: ([port], folder) => [folder, '--host', '127.0.0.1', '--port', port, '--quiet'],
  },
  {
    name: 'ftp-srv',
    version: '4.6.3',
    bin: 'ftp-srv/bin/index.js',
    prepare: page,
    args: ([port], folder) => [`ftp://127.0.0.1:${port}`, '--root', folder, '--pasv-url', '127.0.0.1'],
    speaks: ['ftp'],
  },
];
