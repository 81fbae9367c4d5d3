import type { IncomingMessage } from 'node:http';
import { asMoultError } from '../errors.js';
import { MAX_SLOTS } from '../protocol/limits.js';
import type { ActionResult, PageAction } from './page-messages.js';
import { act } from './supervisor-channel.js';
import type { WatchedServices } from './watched-services.js';

const MAX_BODY_BYTES = 4096;
const ACTIONS: readonly string[] = ['restart', 'rollback', 'scale'] satisfies PageAction['action'][];

/** The action that a page asks for; undefined for what is none. */
export async function readAction(request: IncomingMessage): Promise<PageAction | undefined> {
  let body = '';
  for await (const chunk of request) {
    body += String(chunk);
    if (body.length > MAX_BODY_BYTES) return undefined;
  }
  try {
    const read: unknown = JSON.parse(body);
    return isAction(read) ? read : undefined;
  } catch {
    return undefined;
  }
}

function isAction(read: unknown): read is PageAction {
  if (typeof read !== 'object' || read === null) return false;
  const { action, service, slots } = read as Record<string, unknown>;
  if (typeof service !== 'string' || typeof action !== 'string' || !ACTIONS.includes(action)) return false;
  const isCount = Number.isInteger(slots) && Number(slots) >= 1 && Number(slots) <= MAX_SLOTS;
  return action !== 'scale' || isCount;
}

/** Does it, as the command of that name would. */
export async function doAction(asked: PageAction, services: WatchedServices): Promise<ActionResult> {
  const folder = services.folderOf(asked.service);
  if (folder === undefined) return { ok: false, message: `no service named ${asked.service} runs` };
  try {
    switch (asked.action) {
      case 'restart': {
        const { generation } = await act(folder, {
          type: 'restart',
          wait: true,
          ifBusy: 'refuse',
          allowFewerListeners: false,
          untilConfirmed: false,
          whenQuiet: null,
        });
        return { ok: true, message: `Generation ${generation} has taken over.` };
      }
      case 'rollback': {
        const { generation, how } = await act(folder, { type: 'rollback' });
        const what = how === 'resumed' ? 'serves again' : 'was started with the release before';
        return { ok: true, message: `Generation ${generation} ${what}.` };
      }
      case 'scale': {
        const { slots, were } = await act(folder, { type: 'scale', slots: asked.slots });
        return { ok: true, message: `${slots} slots serve (${were} did before).` };
      }
    }
  } catch (error) {
    const { message, code } = asMoultError(error, 'MOULT_HANDOVER_ABORTED');
    return { ok: false, message: `${message} (${code})` };
  }
}
