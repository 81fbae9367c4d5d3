// Applications with users, editors and a store of their own.
import { writeFileSync } from 'node:fs';
import path from 'node:path';

export const WHOLE_APPLICATIONS = [
  {
    name: 'tiddlywiki',
    version: '5.4.1',
    bin: 'tiddlywiki/tiddlywiki.js',
    prepare: (folder) =>
      writeFileSync(
        path.join(folder, 'tiddlywiki.info'),
        '{"plugins":["tiddlywiki/tiddlyweb","tiddlywiki/filesystem"],"themes":["tiddlywiki/vanilla"]}',
      ),
    args: ([port], folder) => [folder, '--listen', `port=${port}`, 'host=127.0.0.1'],
    request: '/status',
  },
  {
    name: 'node-red',
    version: '5.0.7',
    node: 24,
    bin: 'node-red/red.js',
    args: ([port], folder) => ['--port', port, '--userDir', folder],
    request: '/settings',
  },
];
