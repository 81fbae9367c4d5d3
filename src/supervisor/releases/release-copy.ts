import { constants } from 'node:fs';
import {
  chmod,
  copyFile,
  lchown,
  link,
  lstat,
  mkdir,
  readdir,
  readFile,
  statfs,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type Found, type Scan, sharedSince, targetInCopy } from './release-scan.js';

/** What a copy says of itself. */
const NOTE = '.moult-kept.json';
/** How many files are copied at once. */
const AT_ONCE = 8;
/** This share of the file system stays free. */
const STAYS_FREE = 0.05;

/** A copy of a release, as its note tells. */
export interface Kept {
  /** The folder of which it is a copy. */
  readonly root: string;
  /** What was copied: the state of each file there, and where links lead. */
  readonly states: Readonly<Record<string, string>>;
  /** Size and time of each file in the copy. */
  readonly files: Readonly<Record<string, string>>;
  readonly folders: readonly string[];
}

/**
 * Copies a release. Where the file system can, no byte is copied before one of the two is written to; what of packages
 * is as in another copy is a hard link to there, never to the release itself: whoever writes into a file of that in place
 * would write into the copy.
 * @param copy where it is made, and where it will be.
 * @param before another copy of the same folder.
 * @param maxBytes how much it may take.
 * @throws Error with why it cannot be kept.
 */
export async function copyRelease(
  root: string,
  { at: copy, later }: { readonly at: string; readonly later: string },
  { copied, shared }: Scan,
  before: { readonly at: string; readonly kept: Kept } | undefined,
  maxBytes: number,
): Promise<void> {
  const isSame = ({ path, state, kind }: Found) =>
    kind === 'file' && path.split('/').includes('node_modules') && before?.kept.states[path] === state;
  const anew = copied.filter((one) => !isSame(one));
  await assertRoom(
    dirname(copy),
    anew.reduce((sum, { size }) => sum + size, 0),
    maxBytes,
  );
  const files: Record<string, string> = {};
  const put = async (found: Found) => {
    const to = join(copy, found.path);
    if (found.kind === 'link') await symlink(targetInCopy(root, later, found), to);
    else if (!isSame(found) || !(await linked(join(before?.at ?? '', found.path), to))) {
      await copyFile(join(root, found.path), to, constants.COPYFILE_FICLONE | constants.COPYFILE_EXCL);
      await utimes(to, found.mtimeMs / 1000, found.mtimeMs / 1000);
      await own(to, found);
    }
    if (found.kind === 'file') files[found.path] = await stateOf(to);
  };
  await mkdir(copy, { mode: 0o700 });
  const folders = copied.filter(({ kind }) => kind === 'folder');
  for (const { path } of folders) await mkdir(join(copy, path), { mode: 0o700 });
  const queue = copied.filter(({ kind }) => kind !== 'folder');
  const next = async () => {
    for (let one = queue.pop(); one !== undefined; one = queue.pop()) await put(one);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, next));
  for (const path of shared) await symlink(join(root, path), join(copy, path));
  for (const folder of [...folders].reverse()) {
    await chmod(join(copy, folder.path), folder.mode & 0o7777);
    await own(join(copy, folder.path), folder);
  }
  const kept: Kept = {
    root,
    states: Object.fromEntries(copied.map(({ path, state }) => [path, state])),
    files,
    folders: folders.map(({ path }) => path),
  };
  await writeFile(join(copy, NOTE), JSON.stringify(kept), { mode: 0o600 });
  const top = await lstat(root);
  await chmod(copy, top.mode & 0o7777);
  await own(copy, top);
}

/** What a copy says of itself; undefined where it is none, or none of this user's. */
export async function keptAt(copy: string): Promise<Kept | undefined> {
  try {
    const folder = await lstat(copy);
    const note = await lstat(join(copy, NOTE));
    const ours = process.getuid?.() ?? 0;
    if (!folder.isDirectory() || !note.isFile() || note.uid !== ours) return undefined;
    return JSON.parse(await readFile(join(copy, NOTE), 'utf8')) as Kept;
  } catch {
    return undefined;
  }
}

/** Those of its files that are not as they were copied. */
export async function changedIn(copy: string, { files }: Kept): Promise<string[]> {
  const changed: string[] = [];
  const queue = Object.keys(files);
  const next = async () => {
    for (let path = queue.pop(); path !== undefined; path = queue.pop())
      if ((await stateOf(join(copy, path)).catch(() => '')) !== files[path]) changed.push(join(copy, path));
  };
  await Promise.all(Array.from({ length: AT_ONCE }, next));
  return changed;
}

/** Files in it that were not copied: a service that ran there has written them. */
export async function writtenIn(copy: string, { files, folders }: Kept): Promise<string[]> {
  const own = folders.filter((one) => !one.split('/').includes('node_modules'));
  const found = await Promise.all(
    ['', ...own].map(async (folder) => {
      const entries = await readdir(join(copy, folder), { withFileTypes: true }).catch(() => []);
      const paths = entries.flatMap((one) => {
        const path = folder === '' ? one.name : `${folder}/${one.name}`;
        const isNew = one.isFile() ? files[path] === undefined : one.isDirectory() && !folders.includes(path);
        return isNew && path !== NOTE ? [join(copy, path)] : [];
      });
      return paths;
    }),
  );
  return found.flat();
}

/** Links what the service has come to write beside its release since it was copied. */
export async function linkNewlyShared(copy: string, { root, folders }: Kept): Promise<void> {
  for (const path of await sharedSince(root, copy, folders))
    await symlink(join(root, path), join(copy, path)).catch(() => {});
}

async function assertRoom(folder: string, bytes: number, maxBytes: number): Promise<void> {
  if (bytes > maxBytes)
    throw new Error(`it has ${megabytes(bytes)} to copy, --keep-size allows ${megabytes(maxBytes)}`);
  const { bavail, blocks, bsize } = await statfs(folder);
  if (bavail * bsize - bytes < blocks * bsize * STAYS_FREE)
    throw new Error(
      `it has ${megabytes(bytes)} to copy, only ${megabytes(bavail * bsize)} are free on its disk`,
    );
}

async function linked(from: string, to: string): Promise<boolean> {
  return link(from, to).then(
    () => true,
    () => false,
  );
}

async function own(
  path: string,
  { uid, gid }: { readonly uid: number; readonly gid: number },
): Promise<void> {
  if (process.getuid?.() === 0) await lchown(path, uid, gid);
}

async function stateOf(path: string): Promise<string> {
  const { size, mtimeMs } = await lstat(path);
  return `${size} ${mtimeMs}`;
}

function megabytes(bytes: number): string {
  return `${Math.ceil(bytes / 1024 / 1024)} MiB`;
}
