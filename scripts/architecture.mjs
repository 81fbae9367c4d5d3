// npm run architecture: the picture of the imports in figures. Ends with 1 when there is a circle of files or of rooms, a
// file that is too long, or a folder that is too full.
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { circlesOf, importsOf, inBoxes, levelsOf } from './imports.mjs';
import { fullFolders, longFiles, MOST_FILES, MOST_LINES } from './sizes.mjs';

const SRC = fileURLToPath(new URL('../src', import.meta.url));

const files = importsOf(SRC);
const rooms = readdirSync(SRC, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name);

console.log('                       boxes  levels  arrows  circles');
const circles = [picture('src, by room', inBoxes(files, boxIn('')))];
for (const room of rooms) {
  const boxes = inBoxes(files, boxIn(`${room}/`));
  circles.push(picture(`src/${room}`, boxes));
}
circles.push(picture('src, by file', files));

list('Circles of rooms', circles[0].map(ring));
list('Circles of sub-rooms and files in a room', circles.slice(1, -1).flat().map(ring));
list('Circles of files', circles.at(-1).map(ring));
const long = longFiles(SRC).map(({ path, lines }) => `${String(lines).padStart(5)}  ${path}`);
const full = fullFolders(SRC).map(({ path, files }) => `${String(files).padStart(5)}  ${path}`);
list(`Files of over ${MOST_LINES} lines, but for tables`, long);
list(`Folders of over ${MOST_FILES} files`, full);
process.exitCode = [...circles.flat(), ...long, ...full].length === 0 ? 0 : 1;

/** In a folder, a file is a box, and so is a folder with all that it holds. */
function boxIn(folder) {
  return (file) => (file.startsWith(folder) ? file.slice(folder.length).split('/')[0] : undefined);
}

function picture(name, graph) {
  const found = circlesOf(graph);
  const arrows = [...graph.values()].reduce((sum, to) => sum + to.size, 0);
  const figures = [graph.size, levelsOf(graph), arrows, found.length];
  console.log(`${name.padEnd(20)}${figures.map((figure) => String(figure).padStart(8)).join('')}`);
  return found;
}

function ring(members) {
  return members.join(', ');
}

function list(title, lines) {
  console.log(`\n${title}: ${lines.length === 0 ? 'none' : ''}`.trimEnd());
  for (const line of lines) console.log(`  ${line}`);
}
