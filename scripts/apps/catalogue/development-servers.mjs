// Servers that authors run beside their editor: they watch files, and some tell browsers to load a page anew.
import { mkdirSync, writeFileSync } from 'node:fs';
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
  {
    name: 'hexo',
    version: '8.1.2',
    bin: 'hexo/bin/hexo',
    prepare: hexo,
    args: ([port], folder) => ['server', '--cwd', folder, '--port', port, '--ip', '127.0.0.1', '--silent'],
    request: '/page.html',
  },
];

function hexo(folder) {
  mkdirSync(path.join(folder, 'source'), { recursive: true });
  writeFileSync(path.join(folder, '_config.yml'), 'title: one\nurl: http://example.com\n');
  writeFileSync(
    path.join(folder, 'package.json'),
    '{"name":"site","private":true,"hexo":{"version":"8.1.2"}}',
  );
  writeFileSync(path.join(folder, 'source/page.html'), `<p>${'text '.repeat(400)}</p>`);
}
