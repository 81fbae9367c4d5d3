import type { Form } from './options/option-kinds.js';
import { type Applies, optionRows } from './options/run-options.js';

const APPLIES: Readonly<Record<Applies, string>> = {
  restart: 'next restart',
  start: 'stop and start',
  switch: 'next restart; on or off: stop and start',
};

/** The table of options for docs/reference/config.md. */
export function configReference(): string {
  const rows = optionRows.map(([key, { kind, text, shown, default: value, applies }]) => {
    const byDefault = value === undefined ? '' : String(shown ?? value);
    const says = text.replace(/ \(repeatable\)$/, '').replace(/ \(default: .*\)$/, '');
    return `| \`${key}\` | ${formText(kind.form)} | ${byDefault} | ${APPLIES[applies]} | ${says} |`;
  });
  return [
    '| key | value | default | a change takes effect after | meaning |',
    '|---|---|---|---|---|',
    ...rows,
  ].join('\n');
}

function formText(form: Form): string {
  switch (form.type) {
    case 'amount':
      return `${form.examples.map((one) => `\`'${one}'\``).join(', ')}, or a number`;
    case 'text':
      return form.examples === undefined ? 'text' : form.examples.map((one) => `\`'${one}'\``).join(', ');
    case 'text or settings':
      return 'text, or an object of settings';
    case 'whole number':
      return `a whole number from ${form.least} on`;
    case 'switch':
      return '`true` or `false`';
    case 'word':
      return form.words.map((one) => `\`'${one}'\``).join(', ');
    case 'texts':
      return 'a string, or a list of strings';
    case 'whole numbers':
      return 'a whole number, or a list of whole numbers';
  }
}
