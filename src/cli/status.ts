import Table from 'cli-table3';
import { Command } from 'commander';
import pc from 'picocolors';
import { RunFolder } from '../supervisor/run-folder.js';
import type { ServiceStatus } from '../supervisor/status.js';
import { ask, findService } from './control.js';
import { plainTable } from './table.js';

const WATCH_MS = 1000;

interface Flags {
  readonly json?: true;
  readonly watch?: true;
}

/** The command `moult status`: every service of this user, or the one named. */
export function statusCommand(): Command {
  return new Command('status')
    .description('show what runs')
    .argument('[name]', 'the service (default: all)')
    .option('--json', 'print JSON: one object for a named or only service, else a list')
    .option('--watch', 'show it again each second until interrupted')
    .action(async (name: string | undefined, flags: Flags) => {
      do {
        const statuses = await read(name);
        if (flags.json === true)
          process.stdout.write(`${JSON.stringify(statuses.length === 1 ? statuses[0] : statuses)}\n`);
        else {
          if (flags.watch === true && process.stdout.isTTY) process.stdout.write('\x1b[H\x1b[2J');
          process.stdout.write(`${statuses.map(statusText).join('\n\n')}\n`);
        }
        if (flags.watch === true) await new Promise((resolve) => setTimeout(resolve, WATCH_MS));
      } while (flags.watch === true);
    });
}

async function read(name: string | undefined): Promise<ServiceStatus[]> {
  const names = name === undefined ? RunFolder.running() : [name];
  if (names.length === 0) findService(undefined);
  const answers = names.map((each) => ask(findService(each), { type: 'status' }));
  return (await Promise.all(answers)) as unknown as ServiceStatus[];
}

/** The status of a service, for people. */
export function statusText(status: ServiceStatus): string {
  const hasSlots = status.slots !== undefined;
  const colour = status.state === 'serving' ? pc.green : status.state === 'waiting' ? pc.red : pc.yellow;
  const head = `${pc.bold(status.name)}  ${colour(status.state)}  ${pc.dim(
    `supervisor ${status.pid}, up ${age(status.startedAt)}, ` +
      `${hasSlots ? `${status.slots} slots, ` : ''}${status.restarts} restarts, ${status.crashes} crashes`,
  )}\n${pc.dim(status.command)}`;
  const table = new Table({
    head: [
      ...(hasSlots ? ['slot'] : []),
      'generation',
      'process',
      'state',
      'up',
      'connections',
      'memory',
      'listens on',
    ],
    ...plainTable,
  });
  for (const one of status.generations) {
    table.push([
      ...(hasSlots ? [one.slot ?? ''] : []),
      one.generation,
      one.pid,
      one.state,
      one.startedAt === undefined ? '' : age(one.startedAt),
      one.connections ?? '',
      one.memoryBytes === undefined ? '' : `${Math.round(one.memoryBytes / 1024 / 1024)} MB`,
      one.listeners?.map(({ address }) => addressText(address)).join('\n') ?? '',
    ]);
  }
  const notes = status.generations
    .filter((one) => one.moves !== undefined && one.moves.http1 !== 'yes')
    .map((one) =>
      pc.yellow(
        `generation ${one.generation} drains HTTP/1.1 connections instead of moving them: ${one.moves?.http1}`,
      ),
    );
  return [head, table.toString(), ...notes].join('\n');
}

function addressText(address: Record<string, unknown>): string {
  if (typeof address.path === 'string') return address.path;
  const host = String(address.address ?? '');
  const port = String(address.port ?? '');
  const transport = address.transport === 'udp' ? '/udp' : '';
  return `${host.includes(':') ? `[${host}]` : host}:${port}${transport}`;
}

function age(since: number): string {
  const seconds = Math.max(0, Math.round((Date.now() - since) / 1000));
  if (seconds < 120) return `${seconds} s`;
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}
