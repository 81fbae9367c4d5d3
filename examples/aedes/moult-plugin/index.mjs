// An aedes broker whose clients stay connected over a restart, with aedes' own persistence in memory. The broker changes
// hands as a whole, at one moment between two packets: sessions, subscriptions, queues, what is in flight, retained
// messages, wills. What it knows passes through a file without a name. The connections follow one by one, and what is
// published meanwhile waits for those that are on their way.
import { busy, movable } from 'moult';
import { Broker } from './broker.mjs';
import { SharedFile } from './shared-file.mjs';

/**
 * Serves MQTT on a server of node:net. To be called before it listens.
 * @param options those of aedes.
 * @param opened is called with each broker: once in most generations, again in one whose successor failed.
 */
export function serveMqtt(service, server, options = {}, opened = () => {}) {
  const file = new SharedFile(service);
  /** Of every socket: the id of its client once that is known, what of it no broker has dealt with, its wire. */
  const connections = new Map();
  let broker;
  let phase = 'none';
  let turn = Promise.resolve();

  // In the order in which they are wanted: a broker may have to come back while it is leaving.
  function open() {
    turn = turn.then(async () => {
      if (phase !== 'none' && phase !== 'left') return;
      phase = 'coming';
      const next = new Broker(options);
      await next.restore(await file.take());
      phase = 'here';
      broker = next;
      opened(broker);
      for (const connection of connections.values()) broker.connect(connection);
    });
  }

  function leave() {
    const left = turn.then(async () => {
      if (phase !== 'here') return;
      phase = 'leaving';
      const leaving = broker;
      broker = undefined;
      file.put(await leaving.leave());
      phase = 'left';
    });
    turn = left;
    for (const socket of connections.keys()) busy(socket, left);
  }

  function setUp(socket, { id, unread, from }) {
    const connection = { socket, id, unread, from, wire: undefined };
    connections.set(socket, connection);
    socket.on('data', (chunk) => {
      connection.unread = Buffer.concat([connection.unread, chunk]);
      connection.wire?.offer();
    });
    socket.on('error', () => {});
    socket.on('drain', () => connection.wire?.flushed());
    socket.on('end', () => connection.wire?.end());
    socket.on('close', () => {
      connections.delete(socket);
      connection.wire?.end();
    });
    if (broker === undefined) socket.pause();
    else broker.connect(connection);
  }

  server.on('connection', (socket) =>
    setUp(socket, { id: undefined, unread: Buffer.alloc(0), from: socket.remoteAddress }),
  );
  movable(server, {
    maxBytes: 4 * 1024 * 1024,
    // Asked when connections are to leave, forward or back.
    canMove() {
      if (phase === 'here') leave();
      return phase === 'left';
    },
    save(socket) {
      const { id, unread, from } = connections.get(socket);
      return { id, unread, from };
    },
    restore: setUp,
    moved: (socket) => connections.delete(socket),
  });
  service.on('serve', open);
  service.on('yield', leave);
  // It may be that the handover is undone, and that nobody is connected who would have to go back.
  service.on('drain', () => {
    if (connections.size === 0) leave();
  });
  service.beforeEnd(() => turn);
}
