import type { Socket } from 'node:dgram';
import type { Server } from 'node:net';
import { basename } from 'node:path';
import { BroadcastChannel, type MessagePort, receiveMessageOnPort, threadId } from 'node:worker_threads';
import { MoultError } from '../errors.js';
import { UV_UDP_REUSEADDR } from '../listeners/bind.js';
import { hookBind } from '../node/listening/bind-hook.js';
import { type Listen2, throughHook } from '../node/listening/listen-hook.js';
import { ASKING, type DoorAnswer, type JoinMark } from './mark.js';
import { joinMain, type ServiceThread } from './service-thread.js';

/** How long the main thread may be busy while a thread is about to listen. */
const ANSWER_TIMEOUT_MS = 60_000;
const LOOK_MS = 2;
/** A question that comes before the main thread listens for it is lost: it does in the turn after it has made its first thread. */
const ASK_AGAIN_MS = 50;

/** What this thread is; null when its process is not the service, undefined while that is not known. */
let mine: ServiceThread | null | undefined;

/** Called for every listen() of a worker thread, in place of Node's own last step. */
export function listen(server: Server, original: Listen2, args: Parameters<Listen2>, mark: JoinMark): void {
  const decide: Parameters<typeof throughHook>[0] = (request, proceed) => {
    const isOwnAffair = request.port < 0 && request.address !== null && namesThisProcess(request.address);
    const thread = isOwnAffair ? null : become(mark);
    if (thread === null) proceed();
    else thread.listen(request, proceed);
  };
  throughHook(decide, server, original, args);
}

/** Called for every bind() of a worker thread's datagram socket to a port that it names, before Node's own. */
export function bind(socket: Socket, mark: JoinMark): void {
  hookBind(socket, (request) => {
    // One that shares its address by its own wish, such as for multicast, finds it free beside the older generation's.
    const isShared = (request.flags & UV_UDP_REUSEADDR) !== 0;
    const thread = isShared ? null : become(mark);
    return thread === null ? request.proceed() : thread.bind(request);
  });
}

function become(mark: JoinMark): ServiceThread | null {
  if (mine === undefined) {
    // Set first: moult's own servers listen while it begins.
    mine = null;
    try {
      const door = doorOfMain();
      mine = door === null ? null : joinMain(door, new Int32Array(mark));
    } catch (error) {
      mine = undefined;
      throw error;
    }
  }
  return mine;
}

// The service is in the middle of its listen(), so the answer is waited for here and now.
function doorOfMain(): string | null {
  const asking = new BroadcastChannel(ASKING);
  const nothing = new Int32Array(new SharedArrayBuffer(4));
  const deadlineMs = performance.now() + ANSWER_TIMEOUT_MS;
  let nextMs = 0;
  try {
    while (performance.now() < deadlineMs) {
      if (performance.now() >= nextMs) {
        asking.postMessage({ thread: threadId });
        nextMs = performance.now() + ASK_AGAIN_MS;
      }
      const answer = receiveMessageOnPort(asking as unknown as MessagePort)?.message as
        | DoorAnswer
        | undefined;
      if (answer?.to === threadId && answer.error !== undefined)
        throw new MoultError('MOULT_HANDOVER_ABORTED', answer.error);
      if (answer?.to === threadId) return answer.door;
      if (answer === undefined) Atomics.wait(nothing, 0, 0, LOOK_MS);
    }
  } finally {
    asking.close();
  }
  throw new MoultError(
    'MOULT_PEER_TIMEOUT',
    `expected the main thread to be free within ${ANSWER_TIMEOUT_MS} ms, so that this thread may listen`,
  );
}

function namesThisProcess(path: string): boolean {
  return basename(path).split(/\D+/).includes(String(process.pid));
}
