import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { configReference } from '#moult/config/config-reference.js';
import { configJsonSchema } from '#moult/config/json-schema.js';
import { page, root } from './page.js';

const PAGE = 'docs/reference/config.md';
const TABLE = /(<!-- options: [^\n]*-->\n)[\s\S]*?(<!-- \/options -->)/;

describe(PAGE, () => {
  it('has the table that the code has (MOULT_UPDATE_DOCS=1 writes it)', () => {
    const wanted = page(PAGE).replace(TABLE, (_, begin, end) => `${begin}${configReference()}\n${end}`);
    if (process.env.MOULT_UPDATE_DOCS === '1') writeFileSync(join(root, PAGE), wanted);
    assert.equal(page(PAGE), wanted);
  });

  it('is for the schema that is in the package', () => {
    const shipped = JSON.parse(readFileSync(join(root, 'dist/config/schema.json'), 'utf8'));
    assert.deepEqual(shipped, configJsonSchema());
  });
});
