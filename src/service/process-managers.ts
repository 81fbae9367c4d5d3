import { writeSync } from 'node:fs';
import { basename } from 'node:path';

/** PM2's own sockets. Source: pm2 paths.js. */
const SOCKETS_OF_PM2 = ['rpc.sock', 'pub.sock'];

/**
 * Ends this process where it is PM2, which asks to listen at a path: another one of it that runs beside this one, as a
 * successor does, takes that one's services over and starts them anew, without listeners; so nothing that PM2 starts can be restarted
 * without loss.
 */
export function refuseProcessManager(path: string): void {
  if (!SOCKETS_OF_PM2.includes(basename(path))) return;
  const [, main = ''] = process.argv;
  const isPm2 = process.title.startsWith('PM2 ') || /[\\/]pm2(-runtime|-docker|-dev)?([\\/.]|$)/.test(main);
  if (!isPm2) return;
  const what =
    'moult cannot run PM2, which starts and restarts services itself: start the service without PM2, for example `moult run -- server.js`; --slots replaces `instances` (docs/guide/migrating.md)';
  // Also where nothing of the output is written any more after this.
  writeSync(2, `${what}\n`);
  process.exit(1);
}
