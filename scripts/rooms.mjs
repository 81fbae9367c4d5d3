// Writes what each room may import into biome.json, from the table of rooms in ARCHITECTURE.md.
//
// A room is a folder in src; a sub-room is a folder in a room. Each has a row in the table:
//
//   | `supervisor/` | what it holds | protocol, os, channel |
//   | `supervisor/slots/` | what it holds | os, channel, supervisor/restart, supervisor/options.ts |
//
// The last cell names rooms (`os`), sub-rooms (`supervisor/restart`), and single files that lie in a room beside its
// sub-rooms (`supervisor/options.ts`). "all" means every room; "errors only" and "no other room" mean none.
// - The name of a room allows it with all its sub-rooms; the name of a sub-room allows that sub-room only.
// - A sub-room may import itself, and what its cell names: nothing else of its room, and of other rooms nothing that its
//   room may not import.
// - The files of a room beside its sub-rooms may import all of these.
// - "; pure" in the middle cell forbids Node's own modules.
// - errors.ts, version.ts and index.ts, which lie in src itself, may be imported by all.
// To make one: create the folder, write its row, `npm run rooms`, `npm run lint`. A row that names what is not there,
// or that makes a circle of rooms, is refused.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { circlesOf } from './imports.mjs';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const ROW = /^\| `([\w-]+(?:\/[\w-]+)?)\/` \| ([^|]+) \| ([^|]+) \|$/gm;
const INDENT = ' '.repeat(6);
/** As biome.json has it. */
const LINE_WIDTH = 110;
const NONE = ['errors only', 'no other room'];

/** biome.json as the table wants it. */
export function wanted(root = ROOT) {
  const lint = JSON.parse(readFileSync(join(root, 'biome.json'), 'utf8'));
  const rooms = roomsOf(readFileSync(join(root, 'ARCHITECTURE.md'), 'utf8'));
  check(rooms, root);
  const overrides = rooms.filter(({ allowed }) => allowed !== 'all').map((room) => override(room, rooms));
  const text = JSON.stringify({ ...lint, overrides }, null, 2);
  // As biome formats it: an array that has one text only is on one line.
  return `${text.replace(/\[\s+("[^"]*")\s+\]/g, '[$1]').replace(/"includes": \[([^\]]*)\]/g, oneLine)}\n`;
}

/** The rows of the table: the path of each room, the room in which a sub-room is, and what it may import. */
function roomsOf(page) {
  return [...page.matchAll(ROW)].map(([, path, holds, imports]) => ({
    path,
    parent: path.includes('/') ? path.split('/')[0] : undefined,
    isPure: holds.includes('; pure'),
    imports,
    allowed: imports === 'all' ? 'all' : NONE.includes(imports) ? [] : imports.split(', '),
  }));
}

function check(rooms, root) {
  const byPath = new Map(rooms.map((room) => [room.path, room]));
  const refuse = (room, reason) => {
    throw new Error(`ARCHITECTURE.md, row of ${room.path}/: ${reason}`);
  };
  for (const room of rooms) {
    if (!existsSync(join(root, 'src', room.path))) refuse(room, `src/${room.path} is not there`);
    if (room.parent !== undefined && !byPath.has(room.parent)) refuse(room, `${room.parent}/ has no row`);
    for (const name of room.allowed === 'all' ? [] : room.allowed) {
      if (!byPath.has(name) && !isFile(name, root))
        refuse(room, `${name} is neither a room nor a file in one`);
      if (name === room.path || name === room.parent) refuse(room, `${name} contains it`);
      if (
        room.parent !== undefined &&
        !name.startsWith(`${room.parent}/`) &&
        !mayImport(byPath.get(room.parent), name)
      )
        refuse(room, `${name} is more than ${room.parent}/ may import`);
    }
  }
  const [circle] = circlesOf(new Map(rooms.map((room) => [room.path, importsOfRoom(room, rooms)])));
  if (circle !== undefined) throw new Error(`ARCHITECTURE.md: circle of rooms: ${circle.join(', ')}`);
}

function isFile(name, root) {
  return /^[\w-]+\/[\w-]+\.ts$/.test(name) && existsSync(join(root, 'src', name));
}

function mayImport({ allowed }, name) {
  return allowed === 'all' || allowed.includes(name) || allowed.includes(name.split('/')[0]);
}

/** A room imports its sub-rooms; a file that is named alone leads nowhere. */
function importsOfRoom({ path, allowed }, rooms) {
  const others = rooms.filter(
    (other) => other.path !== path && other.parent !== path && !path.startsWith(`${other.path}/`),
  );
  const named =
    allowed === 'all' ? others.map((other) => other.path) : allowed.filter((name) => !name.endsWith('.ts'));
  const within = rooms.filter((other) => other.parent === path).map((other) => other.path);
  return new Set([...named, ...within]);
}

function oneLine(whole, inside) {
  const line = `"includes": [${inside.trim().split(/,\s+/).join(', ')}]`;
  return `${INDENT}${line},`.length <= LINE_WIDTH ? line : whole;
}

function override({ path, parent, isPure, imports, allowed }, rooms) {
  const up = parent === undefined ? '../' : '../../';
  const top = parent ?? path;
  // First its own room, from the side and on the way around by the room's name: a later pattern outdoes an earlier one.
  const group =
    parent === undefined
      ? []
      : ['../*', '../*/**', '!../../**', ...exceptions(parent, allowed, '../', true), `../../${parent}/**`];
  for (const other of rooms) {
    if (other.parent !== undefined || other.path === top || allowed.includes(other.path)) continue;
    group.push(`${up}${other.path}/**`, ...exceptions(other.path, allowed, up));
  }
  if (isPure) group.push('node:*');
  const message = `${path}/ may import from: ${imports} (ARCHITECTURE.md)`;
  const options = { patterns: [{ group, message }] };
  const within = rooms.filter((other) => other.parent === path).map((other) => `!src/${other.path}/**`);
  return {
    includes: [`src/${path}/**`, ...within],
    linter: { rules: { style: { noRestrictedImports: { level: 'error', options } } } },
  };
}

/** Takes out of a group what a cell allows of a room: a sub-room with all that it holds, or one file. */
function exceptions(room, allowed, up, isWithin = false) {
  return allowed
    .filter((name) => name.startsWith(`${room}/`))
    .map((name) => {
      const path = isWithin ? name.slice(room.length + 1) : name;
      return path.endsWith('.ts') ? `!${up}${path.replace(/\.ts$/, '.js')}` : `!${up}${path}/**`;
    });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(join(ROOT, 'biome.json'), wanted());
