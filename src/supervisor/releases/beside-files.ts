import { stat } from 'node:fs/promises';
import { basename, extname } from 'node:path';
import { isShortage } from '../../os/descriptors/shortage.js';

/*
 * What releases carry beside their code: configuration, templates, schemas. A service may write such files, too, and nothing tells
 * its data from its release for sure. So a change of them never keeps a rollback from happening; it is told of
 * (docs/decisions/0091-a-rollback-tells-which-files-stay-changed.md).
 */

const EXTENSIONS = new Set(
  `.json .json5 .jsonc .yaml .yml .toml .ini .conf .cfg .properties .env .xml .ejs .hbs .handlebars
   .pug .jade .njk .mustache .liquid .eta .mjml .html .css .graphql .gql .proto .prisma .sql .vue
   .svelte .astro .md .mdx .ftl .po`.split(/\s+/),
);

/** Where services write, and tools. Folders whose name begins with a dot are passed over, too. */
const OF_DATA = new Set(
  `node_modules data db database storage uploads downloads backups sessions var run cache log logs
   tmp temp coverage`.split(/\s+/),
);

/** What tells a change of such a file. */
export type BesideFiles = ReadonlyMap<string, string>;

/** Whether a file is of a kind that releases carry beside their code, by its name. */
export function isBesideFile(path: string): boolean {
  const name = basename(path);
  return EXTENSIONS.has(extname(name)) || name === '.env' || name.startsWith('.env.');
}

/** Whether such files are looked for in a folder, by its name. */
export function mayHoldBeside(folder: string): boolean {
  return !folder.startsWith('.') && !OF_DATA.has(folder);
}

/**
 * Those of these files that were changed or removed.
 * @param before as they were.
 * @param untilMs in milliseconds since 1970: what was changed later is not counted.
 */
export async function changedAmong(
  before: ReadonlyMap<string, string>,
  untilMs = Number.POSITIVE_INFINITY,
): Promise<string[]> {
  const changed = await Promise.all(
    [...before].map(async ([path, facts]) => {
      try {
        const now = await stat(path);
        // The time of the change itself: what copies files may give them the times that they had elsewhere.
        return factsOf(now) !== facts && now.ctimeMs <= untilMs ? [path] : [];
      } catch (error) {
        return isShortage(error) ? [] : [path];
      }
    }),
  );
  return changed.flat().sort();
}

/** By which a change of a file is seen. */
export function factsOf({ size, mtimeMs, ino }: { size: number; mtimeMs: number; ino: number }): string {
  return `${size} ${mtimeMs} ${ino}`;
}
