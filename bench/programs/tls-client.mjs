// Clients of tls-server.mjs: some connections for each way in which they are served, kept alive.
import { once } from 'node:events';
import { connect } from 'node:tls';

const CONNECTIONS = 8;
const WAYS = ['native', 'libcrypto', 'node:crypto'];
const BODY = Buffer.alloc(1024 * 1024, 'moult');
const REQUESTS = {
  small: Buffer.from('GET / HTTP/1.1\r\nHost: bench\r\n\r\n'),
  large: Buffer.from('GET /large HTTP/1.1\r\nHost: bench\r\n\r\n'),
  upload: Buffer.concat([
    Buffer.from(`POST / HTTP/1.1\r\nHost: bench\r\nContent-Length: ${BODY.length}\r\n\r\n`),
    BODY,
  ]),
};
const sockets = {};

process.on('message', async (question) => {
  try {
    process.send(await answer(question));
  } catch (error) {
    process.send({ error: error.stack });
  }
});

async function answer({ do: what, port, by, kind, count, ways = WAYS, connections = CONNECTIONS }) {
  if (what === 'connect') {
    for (const way of ways) {
      sockets[way] = [];
      for (let n = 0; n < connections; n += 1) {
        const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false });
        await once(socket, 'secureConnect');
        await ask(socket, Buffer.from(`GET /as/${way} HTTP/1.1\r\nHost: bench\r\n\r\n`));
        sockets[way].push(socket);
      }
    }
    return {};
  }
  let left = count;
  await Promise.all(
    sockets[by].map(async (socket) => {
      for (; left > 0; ) {
        left -= 1;
        await ask(socket, REQUESTS[kind]);
      }
    }),
  );
  return {};
}

/** Sends a request, and waits for its whole response. */
function ask(socket, request) {
  return new Promise((resolve, reject) => {
    let missing;
    const read = (chunk) => {
      if (missing === undefined) {
        const end = chunk.indexOf('\r\n\r\n');
        const length = /content-length: (\d+)/i.exec(chunk.subarray(0, end).toString('latin1'))?.[1];
        if (end < 0 || length === undefined) return leave(() => reject(new Error('no whole head')));
        missing = end + 4 + Number(length);
      }
      missing -= chunk.length;
      if (missing === 0) leave(resolve);
    };
    const closed = () => leave(() => reject(new Error('a connection was closed')));
    const leave = (then) => {
      socket.off('data', read);
      socket.off('close', closed);
      then();
    };
    socket.on('data', read);
    socket.on('close', closed);
    socket.write(request);
  });
}
