import { Command } from 'commander';
import { MoultError } from '../../errors.js';
import { forget, membersOf } from '../../fleet/roster.js';
import { print } from '../../terminal/print.js';
import { withFleet, withStore } from './open.js';

/** The command `moult fleet forget`: removes a host that will not come back. */
export function forgetCommand(): Command {
  return withFleet(new Command('forget'))
    .description('remove a silent host that will not come back')
    .argument('<host>', 'the host')
    .action(async (host: string, { fleet }: { fleet?: string }) => {
      await withStore(fleet, async (store) => {
        const members = (await membersOf(store)).filter((one) => one.host === host);
        if (members.length === 0) throw new MoultError('MOULT_BAD_OPTION', `this fleet has no host ${host}`);
        if (members.some(({ alive }) => alive !== undefined)) {
          const what = `${host} is online: stop its service (moult stop on that host), and it leaves by itself`;
          throw new MoultError('MOULT_BAD_OPTION', what);
        }
        for (const { service } of members) await forget(store, host, service);
        print(`forgot ${host}`);
      });
    });
}
