import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { schemas } from '#moult/protocol/messages.js';
import { page, rows, sections } from './page.js';

/** What is read of a schema; valibot keeps it as plain data. */
interface Schema {
  readonly type: string;
  readonly pipe?: readonly { readonly type: string; readonly requirement?: number }[];
  readonly entries?: Readonly<Record<string, Schema>>;
  readonly item?: Schema;
  readonly wrapped?: Schema;
  readonly options?: readonly (Schema | string)[];
  readonly literal?: string | number;
}

const all = schemas as unknown as Readonly<Record<string, Schema>>;

function at(message: string, ...path: string[]): Schema {
  let schema: Schema | undefined = all[message];
  for (const step of path) schema = step === '[]' ? schema?.item : schema?.entries?.[step];
  assert.ok(schema, `${message}.${path.join('.')}`);
  return schema;
}

function moverSchema(): Schema {
  const { wrapped } = at('ready', 'claims', '[]', 'movers');
  assert.ok(wrapped?.item);
  return wrapped.item;
}

/** Schemas that several messages share, by the heading under which the page has them. */
const shared = new Map<Schema, string>([
  [at('refused', 'error'), 'error-report'],
  [at('hold', 'listener'), 'listener'],
  [at('welcome', 'settings'), 'settings'],
  [at('ready', 'claims', '[]'), 'claim'],
  [moverSchema(), 'mover'],
  [at('connections', 'items', '[]'), 'connection'],
  [at('drained', 'report'), 'drain-report'],
  [measuresSchema(), 'measures'],
  [at('state', 'state'), 'generation-state'],
  [at('state-want', 'pieces', '[]'), 'want'],
]);

function measuresSchema(): Schema {
  const { wrapped } = at('drained', 'measures');
  assert.ok(wrapped);
  return wrapped;
}

function limit(schema: Schema, type: string): number | undefined {
  return schema.pipe?.find((step) => step.type === type)?.requirement;
}

function inWords(schema: Schema | string | undefined): string {
  if (typeof schema === 'string') return `"${schema}"`;
  assert.ok(schema);
  const name = shared.get(schema);
  if (name !== undefined) return `[${name}](#${name})`;
  const max = limit(schema, 'max_length');
  const min = limit(schema, 'min_length');
  switch (schema.type) {
    case 'optional':
      return `${inWords(schema.wrapped)}, optional`;
    case 'nullable':
      return `${inWords(schema.wrapped)}, or null`;
    case 'string':
      return min === undefined ? `text ≤ ${max}` : `text ${min}..${max}`;
    case 'number': {
      if (limit(schema, 'min_value') === undefined) return 'number';
      return schema.pipe?.some(({ type }) => type === 'integer') ? 'count' : 'number ≥ 0';
    }
    case 'literal':
      return JSON.stringify(schema.literal);
    case 'picklist':
    case 'union':
      return (schema.options ?? []).map(inWords).join(' or ');
    case 'array': {
      const items = `list of ${inWords(schema.item)}`;
      if (max === undefined) return items;
      return min === undefined ? `${items}, ≤ ${max}` : `${items}, ${min}..${max}`;
    }
    case 'record':
    case 'object':
      return 'object';
    default:
      return schema.type;
  }
}

/** Every field of a schema with its type, deep ones by their path. */
function fieldsOf(schema: Schema, prefix = ''): [string, string][] {
  return Object.entries(schema.entries ?? {}).flatMap(([name, field]) => {
    const own: [string, string] = [`${prefix}${name}`, inWords(field)];
    let inner: Schema | undefined = field;
    let path = `${prefix}${name}`;
    while (inner !== undefined && !shared.has(inner)) {
      if (inner.type === 'object') return [own, ...fieldsOf(inner, `${path}.`)];
      if (inner.type === 'array') path += '[]';
      inner = inner.item ?? inner.wrapped;
    }
    return [own];
  });
}

describe('docs/protocol.md', () => {
  const headings = sections(page('docs/protocol.md'), 3);

  it('has a heading for every message and every shared part, and no other', () => {
    assert.deepEqual([...headings.keys()].sort(), [...Object.keys(all), ...shared.values()].sort());
  });

  for (const [schema, name] of [
    ...shared,
    ...Object.entries(all).map(([type, each]) => [each, type] as const),
  ]) {
    it(`has every field of ${name}, with its type and limits, and no other`, () => {
      const written = rows(headings.get(name) ?? '').map(([field, type]) => [
        field?.replaceAll('`', ''),
        type,
      ]);
      assert.deepEqual(written, fieldsOf(schema));
    });
  }

  for (const type of Object.keys(all)) {
    it(`says who sends ${type}, when it is valid and what follows`, () => {
      const text = headings.get(type) ?? '';
      for (const word of ['Direction', 'Valid', 'What follows'])
        assert.match(text, new RegExp(`^- \\*\\*${word}:\\*\\* \\S`, 'm'));
    });
  }
});
