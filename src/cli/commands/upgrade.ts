import { Command } from 'commander';
import { type ErrorReport, MoultError } from '../../errors.js';
import type { RunFolder } from '../../supervisor/journal/run-folder.js';
import type { ServiceStatus } from '../../supervisor/status.js';
import { print, printJson } from '../../terminal/print.js';
import { visibleLine } from '../../terminal/visible.js';
import { ask, findService } from '../services/control.js';

const LOOK_MS = 100;
const LIMIT_MS = 20_000;

/** The command `moult upgrade`: the supervisor's own program is replaced in place, with the same process number. */
export function upgradeCommand(): Command {
  return new Command('upgrade')
    .description('replace the supervisor with the moult version that is installed now')
    .argument('[name]', 'the service (default: the only one that runs)')
    .option('--json', 'print the result as JSON')
    .action(async (name: string | undefined, flags: { readonly json?: true }) => {
      const folder = await findService(name);
      const before = (await ask(folder, { type: 'status' })) as unknown as ServiceStatus;
      await replaced(folder);
      const limit = performance.now() + LIMIT_MS;
      let state = '';
      while (performance.now() < limit) {
        await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
        if (!folder.isClaimed()) continue;
        const now = (await ask(folder, { type: 'status' }).catch(() => undefined)) as unknown as
          | ServiceStatus
          | undefined;
        if (now === undefined || now.startedAt === before.startedAt) continue;
        state = now.state;
        if (state !== 'serving') continue;
        const { pid, version } = now;
        if (flags.json === true) printJson({ type: 'result', ok: true, pid, version });
        else
          print(
            `the supervisor of ${folder.name} runs moult ${visibleLine(version)} (process ${pid}, as before)`,
          );
        return;
      }
      throw new MoultError(
        'MOULT_PEER_TIMEOUT',
        state === ''
          ? `the supervisor did not come back within ${LIMIT_MS} ms; its log says why`
          : `the supervisor runs its new program, but the service has not reconnected to it within ${LIMIT_MS} ms (${state}); the supervisor keeps waiting, and its log says why`,
      );
    });
}

/** Asks for it, and waits until the program is another one. @throws why it is not. */
async function replaced(folder: RunFolder): Promise<void> {
  let fail!: (error: MoultError) => void;
  const failure = new Promise<never>((_, reject) => {
    fail = reject;
  });
  failure.catch(() => {});
  const onEvent = (event: Record<string, unknown>) => fail(MoultError.from(event as unknown as ErrorReport));
  // It closes with the program that answered.
  await ask(folder, { type: 'upgrade' }, onEvent, (channel) =>
    Promise.race([failure, channel.closed.then(() => {})]),
  );
}
