import { Option } from 'commander';
import { type OptionRow, optionRows } from './run-options.js';

/** The table as options of a command. */
export function commandOptions(): Option[] {
  return optionRows.flatMap(([, row]) => {
    const option = commandOption(row);
    if (row.negation === undefined) return [option];
    return [option, new Option(row.flags.replace('--', '--no-'), row.negation)];
  });
}

function commandOption({ flags, text, kind, default: value, shown }: OptionRow): Option {
  const option = new Option(flags, text);
  if (isList(kind.form.type)) option.argParser(collect(kind.read));
  else if (kind.form.type !== 'switch') option.argParser(kind.read);
  return value === undefined ? option : option.default(value, shown);
}

/** Whether an option may be given several times. */
export function isList(type: string): boolean {
  return type === 'texts' || type === 'whole numbers';
}

const collect =
  (read: (text: string) => unknown) =>
  (value: string, before: readonly unknown[] = []): readonly unknown[] => [...before, read(value)];
