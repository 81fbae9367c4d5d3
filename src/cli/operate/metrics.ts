import { Command } from 'commander';
import { asMoultError, MoultError } from '../../errors.js';
import { ask, findService } from '../services/control.js';

/** The command `moult metrics`: what there is to measure of a service, as text for Prometheus. Exit status: 0 when it was printed. */
export function metricsCommand(): Command {
  return new Command('metrics')
    .description('print the metrics of a service in Prometheus format')
    .argument('[name]', 'the service (default: the only one that runs)')
    .action(async (name: string | undefined) => {
      const folder = await findService(name);
      const { text } = await ask(folder, { type: 'metrics' }).catch((error: unknown) => {
        throw older(error, folder.name);
      });
      process.stdout.write(String(text));
    });
}

/** An older supervisor closes its end on a message that it does not know. */
function older(error: unknown, name: string): MoultError {
  const told = asMoultError(error, 'MOULT_PEER_CLOSED');
  if (told.code !== 'MOULT_PEER_CLOSED' && told.code !== 'MOULT_PROTOCOL_ORDER') return told;
  const what = `the supervisor of ${name} did not answer: if its moult is too old for metrics, run moult upgrade ${name}`;
  return new MoultError(told.code, `${what} (${told.message})`, { cause: error });
}
