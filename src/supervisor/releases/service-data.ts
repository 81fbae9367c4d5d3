/*
 * What services write beside their code, by its name: it is no part of a release.
 */

/** Folders of these names are no part of a release, whatever is in them. */
export const OF_SERVICES: ReadonlySet<string> = new Set([
  ...['data', 'db', 'database', 'uploads', 'storage', 'backups', 'logs', 'log', 'tmp', 'temp', 'var', 'run'],
  ...['cache', '.cache', '.vite', 'coverage', '.git'],
]);

/** Names of files that services write. */
export const WRITTEN = /\.(db|sqlite3?|ldb|rdb|aof|log|pid|sock|lock|tmp)(-(wal|shm|journal))?$/;
