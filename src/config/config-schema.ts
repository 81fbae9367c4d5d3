import { InvalidArgumentError } from 'commander';
import * as v from 'valibot';
import { commandWords } from './command-words.js';
import { isList } from './options/command-options.js';
import type { Form, OptionKind } from './options/option-kinds.js';
import { optionRows, type RunFlags } from './options/run-options.js';

const oneOrMore = <T extends v.GenericSchema>(member: T) => v.union([member, v.array(member)]);
const asList = (value: unknown) => (Array.isArray(value) ? value : [value]);

// Lists are records, too, for valibot, which makes objects of them.
const settingsObject = v.pipe(
  v.unknown(),
  v.check((value) => !Array.isArray(value), 'Expected an object of settings, received a list'),
  v.record(v.string(), v.unknown()),
);

const textOf = (value: unknown) => (typeof value === 'object' ? JSON.stringify(value) : String(value));

/** A name of a variable. Source: environ(7). */
const NAME = /^[^=\0]+$/;

// What a file may hold, without what the text in it means.
function written(form: Form): v.GenericSchema {
  switch (form.type) {
    case 'amount':
      return v.union([v.string(), v.pipe(v.number(), v.minValue(0))]);
    case 'text':
      return v.string();
    case 'text or settings':
      return v.union([v.string(), settingsObject]);
    case 'whole number':
      return v.pipe(v.number(), v.integer(), v.minValue(form.least));
    case 'switch':
      return v.boolean();
    case 'word':
      return v.picklist(form.words);
    case 'texts':
      return oneOrMore(v.string());
    case 'whole numbers':
      return oneOrMore(v.pipe(v.number(), v.integer(), v.minValue(0)));
  }
}

function reading(kind: OptionKind): v.GenericSchema {
  return v.pipe(
    written(kind.form),
    v.rawTransform(({ dataset, addIssue, NEVER }) => {
      try {
        const values = asList(dataset.value).map((value) => kind.read(textOf(value)));
        return isList(kind.form.type) ? values : values[0];
      } catch (error) {
        if (!(error instanceof InvalidArgumentError)) throw error;
        addIssue({ message: error.message });
        return NEVER;
      }
    }),
  );
}

const described = <T extends v.GenericSchema>(schema: T, text: string) => v.pipe(schema, v.description(text));

const options = Object.fromEntries(
  optionRows.map(([key, { kind, text }]) => [key, v.optional(described(reading(kind), text))]),
);

const keys = {
  command: v.optional(
    v.pipe(
      v.union([v.string(), v.pipe(v.array(v.string()), v.minLength(1))]),
      v.rawTransform(({ dataset, addIssue, NEVER }) => {
        const words = typeof dataset.value === 'string' ? commandWords(dataset.value) : dataset.value;
        const isWhole = words !== undefined && words.length > 0 && words[0] !== '';
        if (isWhole && !words.some((word) => word.includes('\0'))) return words;
        const what = isWhole ? 'without zero bytes' : 'with balanced quotation marks';
        addIssue({ message: `Expected a script or a command ${what}` });
        return NEVER;
      }),
      v.description('a script for Node, or a command with its arguments: one string, or a list of words'),
    ),
  ),
  cwd: v.optional(described(v.string(), 'the working folder of the service, relative to the file')),
  env: v.optional(
    v.pipe(
      v.record(v.string(), v.union([v.string(), v.number(), v.boolean()])),
      v.rawTransform(({ dataset, addIssue, NEVER }) => {
        const env = Object.entries(dataset.value).map(([name, value]) => [name, String(value)] as const);
        const wrong = env.find(([name, value]) => !NAME.test(name) || value.includes('\0'));
        if (wrong === undefined) return Object.fromEntries(env);
        const [name] = wrong;
        const what = NAME.test(name)
          ? `a value without a zero byte for ${name}`
          : `names without "=" and zero bytes, received ${JSON.stringify(name)}`;
        addIssue({ message: `Expected ${what}` });
        return NEVER;
      }),
      v.description('environment variables of the service'),
    ),
  ),
  after: v.optional(
    v.pipe(
      oneOrMore(v.string()),
      v.transform((names) => asList(names) as string[]),
      v.description('services of this file that must be ready before this one starts'),
    ),
  ),
} as const;

const service = v.strictObject({ ...keys, ...options });

/** The schema of a config file. */
export const configSchema = v.strictObject({
  $schema: v.optional(v.string()),
  ...keys,
  ...options,
  services: v.optional(
    described(
      v.record(v.string(), service),
      'several services by name; the keys beside it apply to all of them',
    ),
  ),
});

/** One service as its file has it, once it is read. */
export type ReadService = {
  readonly [K in keyof typeof keys]?: v.InferOutput<(typeof keys)[K]>;
} & Partial<RunFlags>;

/** A config file once it is read. */
export type ReadConfig = ReadService & { readonly services?: Readonly<Record<string, ReadService>> };
