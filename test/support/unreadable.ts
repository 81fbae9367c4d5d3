/**
 * An argument of Node with which a package that moult imports cannot be read: each read of its files fails with EIO.
 * @param when an expression of JavaScript that says, at the start of the process, whether it is so.
 */
export function unreadablePackage(when = 'true'): string {
  return `--import=data:text/javascript,${encodeURIComponent(`
    import fs from 'node:fs';
    import { syncBuiltinESMExports } from 'node:module';
    if (${when}) {
      const { readFileSync } = fs;
      fs.readFileSync = (...args) => {
        if (String(args[0]).includes('/commander/lib/')) throw Object.assign(new Error('EIO: read'), { code: 'EIO' });
        return readFileSync(...args);
      };
      syncBuiltinESMExports();
    }
  `)}`;
}
