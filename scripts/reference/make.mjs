// Writes docs/reference/api from the doc comments of what the package exports; with a folder as argument, there. Fails
// when an export, or a member of one, has no doc comment.
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('.', import.meta.url));
const out = process.argv[2] ?? fileURLToPath(new URL('../../docs/reference/api', import.meta.url));
const typedoc = join(createRequire(import.meta.url).resolve('typedoc/package.json'), '../bin/typedoc');

rmSync(out, { recursive: true, force: true });
execFileSync(process.execPath, [typedoc, '--out', out], { cwd: here, stdio: 'inherit' });
for (const path of pagesIn(out)) writeFileSync(path, withErrorCodes(readFileSync(path, 'utf8')));

function pagesIn(folder) {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    return statSync(path).isDirectory() ? pagesIn(path) : [path];
  });
}

// The compiler knows `ErrorCode` by its thirty members only.
function withErrorCodes(text) {
  return text.replace(
    /(\\\| )?(`"MOULT_[A-Z_]+"` \\\| ){10,}`"MOULT_[A-Z_]+"`/g,
    '[`ErrorCode`](#errorcode)',
  );
}
