// WebSockets that stay open, and are opened again when they are closed.
import WebSocket from 'ws';

const COUNT = 10;

/** `stop()` gives how many closings there were, by code. */
export function watchWebSockets(port, where) {
  const closings = {};
  const open = new Set();
  let isOver = false;
  const dial = () => {
    const socket = new WebSocket(`ws://127.0.0.1:${port}${where}`);
    open.add(socket);
    socket.on('error', () => {});
    socket.on('close', (code) => {
      open.delete(socket);
      if (isOver) return;
      closings[code] = (closings[code] ?? 0) + 1;
      setTimeout(dial, 50);
    });
  };
  for (let n = 0; n < COUNT; n += 1) dial();
  return {
    stop: () => {
      isOver = true;
      for (const socket of open) socket.terminate();
      return closings;
    },
  };
}
