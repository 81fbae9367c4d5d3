import assert from 'node:assert/strict';
import { it } from 'node:test';
import { commandWords } from '#moult/config/command-words.js';

it('splits a command at spaces and keeps together what is quoted', () => {
  assert.deepEqual(commandWords('node  server.js --port 3000'), ['node', 'server.js', '--port', '3000']);
  assert.deepEqual(commandWords(`"my app/server.js" 'a b' --x="1 2"`), [
    'my app/server.js',
    'a b',
    '--x=1 2',
  ]);
  assert.deepEqual(commandWords(''), []);
});

it('refuses a quotation mark that is not closed', () => {
  assert.equal(commandWords('node "server.js'), undefined);
});
