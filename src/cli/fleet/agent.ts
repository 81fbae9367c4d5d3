import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { Command } from 'commander';
import { Agent } from '../../fleet/agent/agent.js';
import { LEAVE } from '../../fleet/agent/agent-process.js';
import { FLEET_VARIABLE } from '../../fleet/settings.js';
import { RunFolder } from '../../supervisor/journal/run-folder.js';
import { supervisorLog } from '../../supervisor/log.js';
import { settingsFrom, withFleet } from './open.js';
import { SupervisedService } from './supervised-service.js';

/** The command `moult fleet agent`, which `moult run --fleet` keeps running: it ends when its input does. */
export function agentCommand(): Command {
  return withFleet(new Command('agent'))
    .description('run the fleet agent of one service on this machine')
    .argument('<name>', 'the service')
    .action(async (name: string, { fleet }: { fleet?: string }) => {
      // Meant for this process: a deploy step needs no credentials of the fleet.
      delete process.env[FLEET_VARIABLE];
      const settings = await settingsFrom(fleet);
      const folder = new RunFolder(name);
      const log = supervisorLog(name, 'info');
      const agent = new Agent({
        settings,
        name,
        identity: identityOf(folder),
        service: new SupervisedService(folder, settings),
        log: { info: (what) => log.info(what), warn: (what) => log.warn(what) },
      });
      const leaves = await told();
      await agent.end(leaves);
      // Whatever still waits for an answer of the supervisor waits in vain.
      process.exit(0);
    });
}

/** Settles when this process is to end. @returns whether the service has ended, too. */
function told(): Promise<boolean> {
  return new Promise((resolve) => {
    let text = '';
    process.stdin.on('data', (bytes: Buffer) => {
      text = (text + bytes.toString('utf8')).slice(-LEAVE.length);
    });
    const over = () => resolve(text === LEAVE);
    process.stdin.on('end', over).on('close', over).on('error', over);
    process.on('SIGTERM', () => resolve(false)).on('SIGINT', () => resolve(false));
  });
}

// The same in each life of the service here, and another one elsewhere.
function identityOf({ path }: RunFolder): string {
  let machine = hostname();
  try {
    machine += readFileSync('/etc/machine-id', 'utf8').trim();
  } catch {
    // A container may have none: its host name tells it from others.
  }
  return createHash('sha256')
    .update(`${machine} ${process.getuid?.() ?? ''} ${path}`)
    .digest('hex')
    .slice(0, 32);
}
