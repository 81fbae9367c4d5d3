import assert from 'node:assert/strict';
import { describe, it, mock } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { AgentProcess } from '#moult/fleet/agent/agent-process.js';

/** An agent that cannot be started, and what is logged of it. */
function agent(name: string, cwd: string): { agent: AgentProcess; warnings: string[] } {
  const warnings: string[] = [];
  const log = { warn: (what: string) => void warnings.push(what) };
  return { agent: new AgentProcess(name, '{}', cwd, log), warnings };
}

describe('the process of an agent', () => {
  it('does not keep a service from stopping that could not be started', async () => {
    const { agent: one } = agent('service', '/nowhere/at/all');
    one.start();
    // Node tells in the next turn that it was not.
    await one.leave();
  });

  for (const [how, name, cwd] of [
    ['Node says later', 'service', '/nowhere/at/all'],
    ['Node says at once', 'ser\0vice', '/'],
  ] as const) {
    it(`is started again where it could not be, as ${how}`, async () => {
      mock.timers.enable({ apis: ['setTimeout'] });
      try {
        const { agent: one, warnings } = agent(name, cwd);
        one.start();
        for (const count of [1, 2]) {
          await turn();
          assert.equal(warnings.length, count);
          assert.match(warnings[count - 1] ?? '', new RegExp(`it restarts in ${2 ** count} s`));
          mock.timers.tick(2 ** count * 1000);
        }
        await one.leave();
      } finally {
        mock.timers.reset();
      }
    });
  }
});
