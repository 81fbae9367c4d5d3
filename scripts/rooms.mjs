// Writes what each room may import into biome.json, from the table of rooms in ARCHITECTURE.md.
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const PAGE = fileURLToPath(new URL('../ARCHITECTURE.md', import.meta.url));
const LINT = fileURLToPath(new URL('../biome.json', import.meta.url));

/** biome.json as the table wants it. */
export function wanted() {
  const lint = JSON.parse(readFileSync(LINT, 'utf8'));
  const rooms = [...readFileSync(PAGE, 'utf8').matchAll(/^\| `(\w+)\/` \| (.+) \| (.+) \|$/gm)].map(
    ([, name, holds, imports]) => ({ name, isPure: holds.includes('; pure'), imports }),
  );
  const overrides = rooms.filter(({ imports }) => imports !== 'all').map((room) => override(room, rooms));
  const text = JSON.stringify({ ...lint, overrides }, null, 2);
  // As biome formats it: an array that has one text only is on one line.
  return `${text.replace(/\[\s+("[^"]*")\s+\]/g, '[$1]').replace(/"includes": \[([^\]]*)\]/g, oneLine)}\n`;
}

function oneLine(_, inside) {
  return `"includes": [${inside.trim().split(/,\s+/).join(', ')}]`;
}

function override({ name, isPure, imports }, rooms) {
  const allowed = new Set([name, ...imports.split(', ')]);
  const group = rooms.filter((other) => !allowed.has(other.name)).map((other) => `../${other.name}/**`);
  if (isPure) group.push('node:*');
  const message = `${name}/ may import from: ${imports} (ARCHITECTURE.md)`;
  const options = { patterns: [{ group, message }] };
  return {
    includes: [`src/${name}/**`],
    linter: { rules: { style: { noRestrictedImports: { level: 'error', options } } } },
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(LINT, wanted());
