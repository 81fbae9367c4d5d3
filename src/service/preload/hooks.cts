/*
 * How moult comes to know of a service's sockets: by the preload of `moult run`, or by the library. CommonJS and
 * without any import of moult's own, so that a process that never listens pays next to nothing.
 */
const dgram: typeof import('node:dgram') = require('node:dgram');
const net: typeof import('node:net') = require('node:net');

type Server = import('node:net').Server;
type Socket = import('node:dgram').Socket;
type Listen2 = import('../../node/listening/listen-hook.js', { with: {
  'resolution-mode': 'import',
}}).Listen2;

/**
 * Has every `listen()` of this process decided by a function, at its last step. Where Node has no such step any
 * more, nothing is changed.
 */
function onListen(decide: (server: Server, original: Listen2, args: Parameters<Listen2>) => void): void {
  const prototype = net.Server.prototype as unknown as { _listen2?: Listen2 };
  const original = prototype._listen2;
  if (typeof original !== 'function') return;
  prototype._listen2 = function (this: Server, ...args: Parameters<Listen2>) {
    decide(this, original, args);
  };
}

/**
 * Calls back before a datagram socket is bound to a port that the program names, or to a descriptor. A client
 * that lets the system pick its port is never seen. Source: node lib/dgram.js, the arguments of bind and bindSync.
 */
function onDatagramBind(callback: (socket: Socket) => void): void {
  const prototype = dgram.Socket.prototype as unknown as Record<string, unknown>;
  for (const name of ['bind', 'bindSync']) {
    const original = prototype[name];
    if (typeof original !== 'function') continue;
    prototype[name] = function (this: Socket, ...args: unknown[]) {
      if (namesPort(args[0])) callback(this);
      return original.apply(this, args);
    };
  }
}

function namesPort(asked: unknown): boolean {
  if (typeof asked !== 'object' || asked === null) return Number(asked) > 0;
  const { port, fd } = asked as { port?: unknown; fd?: unknown };
  return Number(port) > 0 || Number(fd) > 0;
}

module.exports = { onListen, onDatagramBind };
