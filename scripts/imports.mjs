// Who imports whom in a folder of sources: every import counts, those of types too.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';

const SOURCE = /\.[cm]?ts$/;
// `import … from`, `export … from`, a bare `import`, `import()` as a type or a call, and `require()`.
const IMPORT = /(?:\bfrom|\bimport|\bimport\(|\brequire\()\s*'((?:\.|#moult\/)[^']*)'/g;

/**
 * The graph of the imports of all sources below a folder.
 * @param {string} folder
 * @returns {Map<string, Set<string>>} for each file, by its path in the folder, the files that it imports
 */
export function importsOf(folder) {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && SOURCE.test(entry.name))
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)).replaceAll(sep, '/'))
    .sort();
  const sources = new Map(files.map((file) => [file.replace(/ts$/, 'js'), file]));
  const graph = new Map();
  for (const file of files) {
    const code = withoutComments(readFileSync(join(folder, file), 'utf8'));
    const named = [...code.matchAll(IMPORT)].map(([, specifier]) => {
      const path = specifier.startsWith('#moult/')
        ? specifier.slice('#moult/'.length)
        : join(dirname(file), specifier);
      return sources.get(path);
    });
    // A bundle, which is loaded while the program runs, and package.json are no sources and no part of the graph.
    graph.set(file, new Set(named.filter((other) => other !== undefined && other !== file)));
  }
  return graph;
}

/** The same graph with the files put into boxes; what a box imports of itself does not count. */
export function inBoxes(graph, boxOf) {
  const boxes = new Map();
  for (const [file, imported] of graph) {
    const box = boxOf(file);
    if (box === undefined) continue;
    const arrows = boxes.get(box) ?? new Set();
    boxes.set(box, arrows);
    for (const other of imported) {
      const to = boxOf(other);
      if (to !== undefined && to !== box) arrows.add(to);
    }
  }
  return boxes;
}

/** The circles of a graph: sets of two or more in which each one reaches each other one (Tarjan's algorithm). */
export function circlesOf(graph) {
  return components(graph).filter((members) => members.length > 1);
}

/** How many boxes lie on the longest way of arrows; a circle counts as one box. */
export function levelsOf(graph) {
  const parts = components(graph);
  const partOf = new Map(parts.flatMap((members) => members.map((box) => [box, members])));
  const depth = new Map();
  // A part comes after all that it imports.
  for (const members of parts) {
    const below = members.flatMap((box) => [...graph.get(box)].map((to) => partOf.get(to)));
    depth.set(members, 1 + Math.max(0, ...below.map((part) => (part === members ? 0 : depth.get(part)))));
  }
  return Math.max(0, ...depth.values());
}

function components(graph) {
  const order = new Map();
  const low = new Map();
  const stack = [];
  const found = [];
  const visit = (box) => {
    order.set(box, order.size);
    low.set(box, order.get(box));
    stack.push(box);
    for (const to of graph.get(box)) {
      if (!order.has(to)) visit(to);
      if (stack.includes(to)) low.set(box, Math.min(low.get(box), low.get(to)));
    }
    if (low.get(box) === order.get(box)) found.push(stack.splice(stack.indexOf(box)).sort());
  };
  for (const box of graph.keys()) if (!order.has(box)) visit(box);
  return found;
}

function withoutComments(code) {
  return code.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '');
}
