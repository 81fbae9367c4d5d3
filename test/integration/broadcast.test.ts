import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ChatClients } from './broadcast-clients.js';
import { fixture, withService } from './supervised.js';

const CLIENTS = 60;

describe('what is broadcast while clients move', () => {
  it('comes to every WebSocket of a chat once, over restarts and undos', async () => {
    await withService(
      { command: ['node', fixture('chat.mjs')], runOptions: ['--probation', '20s'] },
      async (service) => {
        const chat = new ChatClients();
        try {
          await chat.connect((await service.target()).port, CLIENTS);
          chat.talk(6, 20);
          for (const isUndone of [false, true, false, true, false]) {
            const { moved } = await service.restart();
            assert.equal(moved, CLIENTS);
            if (!isUndone) continue;
            const { code, stderr } = await service.moult('rollback', service.name);
            assert.equal(code, 0, stderr);
          }
          await chat.finish();
          assert.ok(chat.said.length > 100, `${chat.said.length} said`);
        } finally {
          chat.close();
        }
      },
    );
  });
});
