import assert from 'node:assert/strict';
import { it } from 'node:test';
import { tellingLine } from '#moult/supervisor/output/telling-line.js';

const lines = (text: string) => text.split('\n');

it('finds the line that says why a process ended', () => {
  const cases: readonly (readonly [string, string | undefined])[] = [
    ['', undefined],
    ['\n\n', undefined],
    ['listening on 3000\n', 'listening on 3000'],
    // An error that nobody catches, as Node prints it.
    [
      "/srv/app.js:3\nthrow new TypeError('no DATABASE_URL')\n^\n\nTypeError: no DATABASE_URL\n    at Object.<anonymous> (/srv/app.js:3:7)\n    at node:internal/main/run_main_module:36:49 {\n  code: 'ECONF',\n  [cause]: Error: x\n}\n\nNode.js v22.3.0\n",
      'TypeError: no DATABASE_URL',
    ],
    [
      'up\nUncaught Error [ERR_X]: it broke\nin two lines\n    at f (file:///a.mjs:1:1)\n',
      'Uncaught Error [ERR_X]: it broke',
    ],
    // What is printed after it is the last word.
    ['Error: one\n    at f (a.js:1:1)\nclosing the pool\n', 'closing the pool'],
    [
      'Traceback (most recent call last):\n  File "a.py", line 1, in <module>\n    import nosuch\nModuleNotFoundError: No module named \'nosuch\'\n',
      "ModuleNotFoundError: No module named 'nosuch'",
    ],
    // Nothing but what follows something.
    ['    at f (a.js:1:1)\n}\n', '}'],
  ];
  for (const [text, expected] of cases) assert.equal(tellingLine(lines(text)), expected, text);
});
