// The table of docs/applications.md: a row for each application, kept by its name.
import { readFileSync, writeFileSync } from 'node:fs';

const BEGIN = '<!-- table: made by `npm run apps -- --write-docs` -->';
const END = '<!-- /table -->';
const HEAD = [
  'application',
  'version',
  'Node',
  'requests',
  'moved',
  'drained',
  'failed',
  'lost',
  'refused',
  'remarks',
];

/** The row of one trial. */
export function rowOf(app, node, seen) {
  const closed = Object.entries(seen.webSocketsClosed ?? {}).map(([code, count]) => `${count} with ${code}`);
  const remarks = [
    ...(app.known === undefined ? [] : [`${app.known.remark}, as moult says at the start`]),
    ...(app.speaks.length > 1 || app.speaks[0] !== 'http' ? [`speaks ${app.speaks.join(', ')}`] : []),
    ...(seen.toldToClose > 0 ? [`${seen.toldToClose} connections told to close`] : []),
    ...(closed.length > 0 ? [`WebSockets drain: of 10, opened again, ${closed.join(', ')} closed`] : []),
    ...(seen.problems.length > 0 ? ['**not as promised**'] : []),
  ];
  const { requests = '–', moved, draining, failed = '–', lost = '–', refused = '–' } = seen;
  return line([
    app.name,
    app.version,
    node,
    requests,
    moved,
    draining,
    failed,
    lost,
    refused,
    remarks.join('; '),
  ]);
}

/** Puts rows into the page. Those of other applications stay where the catalogue has them, in its order. */
export function writeRows(page, rows, catalogue) {
  const text = readFileSync(page, 'utf8');
  const [before, rest] = text.split(BEGIN);
  const [table, after] = rest.split(END);
  const byName = new Map([...table.trim().split('\n').slice(2), ...rows].map((row) => [nameIn(row), row]));
  const all = catalogue.flatMap(({ name }) => byName.get(name) ?? []);
  const lines = [line(HEAD), line(HEAD.map(() => '---')), ...all];
  writeFileSync(page, `${before}${BEGIN}\n${lines.join('\n')}\n${END}${after}`);
}

function line(cells) {
  return `| ${cells.join(' | ')} |`;
}

function nameIn(row) {
  return row.split('|')[1].trim();
}
