import type * as v from 'valibot';
import { configSchema } from './config-schema.js';

/** The parts of a valibot schema that a JSON schema shows. */
interface Known {
  readonly type: string;
  readonly wrapped?: Known;
  readonly pipe?: readonly Known[];
  readonly kind?: string;
  readonly options?: readonly unknown[];
  readonly entries?: Readonly<Record<string, Known>>;
  readonly item?: Known;
  readonly value?: Known;
  readonly requirement?: unknown;
  readonly description?: string;
}

/** The JSON schema of `moult.config.json`, made from the schema by which config files are read. */
export function configJsonSchema(): object {
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: 'moult.config.json',
    ...jsonSchema(configSchema as v.GenericSchema as unknown as Known),
  };
}

function jsonSchema(schema: Known): Record<string, unknown> {
  const { pipe } = schema;
  if (pipe === undefined) return bare(schema);
  const [first, ...rest] = pipe;
  return Object.assign(first === undefined ? {} : jsonSchema(first), ...rest.map(action));
}

function bare(schema: Known): Record<string, unknown> {
  const { wrapped, item, value, entries = {}, options = [] } = schema;
  switch (schema.type) {
    case 'optional':
      return wrapped === undefined ? {} : jsonSchema(wrapped);
    case 'unknown':
      return {};
    case 'string':
    case 'number':
    case 'boolean':
      return { type: schema.type };
    case 'picklist':
      return { enum: options };
    case 'union':
      return { anyOf: options.map((one) => jsonSchema(one as Known)) };
    case 'array':
      return { type: 'array', items: item === undefined ? {} : jsonSchema(item) };
    case 'record':
      return { type: 'object', additionalProperties: value === undefined ? true : jsonSchema(value) };
    case 'strict_object': {
      const properties = Object.entries(entries).map(([key, one]) => [key, jsonSchema(one)]);
      return { type: 'object', properties: Object.fromEntries(properties), additionalProperties: false };
    }
    default:
      throw new TypeError(
        `expected a kind of schema that has a counterpart in JSON schema, received ${schema.type}`,
      );
  }
}

function action({ type, requirement, description, kind, ...rest }: Known): Record<string, unknown> {
  if (kind === 'schema') return jsonSchema({ type, ...rest });
  switch (type) {
    case 'description':
      return { description };
    case 'integer':
      return { type: 'integer' };
    case 'min_value':
      return { minimum: requirement };
    case 'min_length':
      return { minItems: requirement };
    default:
      // What reads the text leaves no trace in JSON.
      return {};
  }
}
