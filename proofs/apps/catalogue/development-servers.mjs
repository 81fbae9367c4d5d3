// Servers that authors run beside their editor: they watch files, and some tell browsers to load a page anew.
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { page } from './page.mjs';

export const DEVELOPMENT_SERVERS = [
  {
    name: 'vite',
    version: '8.4.0',
    node: 22,
    bin: 'vite/bin/vite.js',
    prepare: page,
    args: ([port], folder) => [
      folder,
      '--host',
      '127.0.0.1',
      '--port',
      port,
      '--strictPort',
      // Vite lets only one of its processes in for a project, and says so; a restart fails without this option of its own.
      '--bypass-lock',
      '--logLevel',
      'silent',
    ],
  },
  {
    name: 'browser-sync',
    version: '3.0.4',
    bin: 'browser-sync/dist/bin.js',
    prepare: page,
    args: ([port], folder) => [
      'start',
      '--server',
      folder,
      '--listen',
      '127.0.0.1',
      '--port',
      port,
      '--no-open',
      '--no-ui',
      '--logLevel',
      'silent',
    ],
  },
  {
    name: 'live-server',
    version: '1.2.2',
    bin: 'live-server/live-server.js',
    prepare: page,
    args: ([port], folder) => [folder, '--host=127.0.0.1', `--port=${port}`, '--no-browser', '--quiet'],
  },
  {
    name: 'reveal-md',
    version: '6.1.4',
    bin: 'reveal-md/bin/reveal-md.js',
    prepare: (folder) => writeFileSync(path.join(folder, 'slides.md'), '# One\n\n---\n\n# Two\n'),
    args: ([port], folder) => [
      path.join(folder, 'slides.md'),
      '--port',
      port,
      '--host',
      '127.0.0.1',
      '--disable-auto-open',
    ],
    request: '/slides.md',
  },
  {
    name: 'docsify-cli',
    version: '5.0.0',
    bin: 'docsify-cli/bin/docsify',
    prepare: (folder) => {
      page(folder);
      writeFileSync(path.join(folder, 'README.md'), '# A page\n');
    },
    args: ([port, reload], folder) => ['serve', folder, '--port', port, '-P', reload],
    speaks: ['http', 'tcp'],
    request: '/README.md',
  },
];
