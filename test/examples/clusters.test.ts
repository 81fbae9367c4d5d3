import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { parse, parseAllDocuments } from 'yaml';
import { checked } from '#moult/fleet/settings.js';
import { ownCliPath } from '#moult/verify/moult/moult-command.js';
import { root } from '../integration/supervised.js';

const folder = join(root, 'examples/clusters');
const files = readdirSync(folder).map((name) => [name, readFileSync(join(folder, name), 'utf8')] as const);

function optionsOf(...words: string[]): string {
  return execFileSync(process.execPath, [ownCliPath(), ...words, '--help'], { encoding: 'utf8' });
}

describe('the examples of clusters', () => {
  it('are files that can be read', () => {
    assert.ok(files.length >= 3);
    for (const [name, text] of files.filter(([one]) => one.endsWith('.yaml')))
      for (const document of parseAllDocuments(text)) assert.deepEqual(document.errors, [], name);
  });

  it('start and restart services by options that moult has', () => {
    let seen = 0;
    for (const [name, text] of files) {
      // Also where words are in a list of strings.
      const plain = text.replace(/["[\],]/g, ' ').replace(/ +/g, ' ');
      for (const [, command = '', rest = ''] of plain.matchAll(
        /\b(?:moult |args = )(fleet restart|run|restart)\b([^\n]*)/g,
      )) {
        const help = optionsOf(...command.split(' '));
        for (const [option] of (rest.split(' -- ')[0] ?? '').matchAll(/--[a-z-]+/g)) {
          assert.match(help, new RegExp(`^ {2}${option} `, 'm'), `${name}: moult ${command} ${option}`);
          seen += 1;
        }
      }
    }
    assert.ok(seen >= 12, String(seen));
  });

  it('have settings of a fleet that moult takes', () => {
    const [, hcl = ''] = files.find(([name]) => name.endsWith('.hcl')) ?? [];
    const [, settings = ''] = /<<YAML\n([\s\S]*?)\nYAML/.exec(hcl) ?? [];
    const filled = settings.replace(/\{\{ env "[^"]*" \}\}/g, 'one');
    assert.equal(checked(parse(filled), 'the template', '/').host, 'one');
  });
});
