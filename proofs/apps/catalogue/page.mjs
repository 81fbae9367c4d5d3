// A page that most of them can serve.
import { writeFileSync } from 'node:fs';
import path from 'node:path';

export function page(folder) {
  writeFileSync(
    path.join(folder, 'index.html'),
    `<!doctype html><title>a page</title><p>${'text '.repeat(400)}</p>\n`,
  );
}
