import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The folder of the repository. */
export const root = fileURLToPath(new URL('../../../', import.meta.url));

/** The text of a page of the documentation. */
export function page(path: string): string {
  return readFileSync(join(root, path), 'utf8');
}

/** The text under each heading of this level, down to the next heading of this level or a higher one. */
export function sections(text: string, level: number): Map<string, string> {
  const found = new Map<string, string>();
  const heading = new RegExp(`^(#{1,${level}}) (.+)$`, 'gm');
  const marks = [...text.matchAll(heading)];
  marks.forEach((mark, i) => {
    if (mark[1]?.length !== level) return;
    const begin = (mark.index ?? 0) + mark[0].length;
    found.set((mark[2] ?? '').replaceAll('`', ''), text.slice(begin, marks[i + 1]?.index ?? text.length));
  });
  return found;
}

/** The rows of every table in a text, without heads, each as its cells. */
export function rows(text: string): string[][] {
  const lines = text.split('\n');
  return lines.flatMap((line, i) => {
    const isHead = /^\|[-| ]+\|$/.test(lines[i + 1] ?? '');
    if (!line.startsWith('|') || isHead || /^\|[-| ]+\|$/.test(line)) return [];
    return [
      line
        .slice(1, -1)
        .split(/(?<!\\)\|/)
        .map((cell) => cell.trim()),
    ];
  });
}

/** What stands in backticks in a cell. */
export function codes(cell: string): string[] {
  return [...cell.matchAll(/`([^`]+)`/g)].map(([, code]) => code ?? '');
}
