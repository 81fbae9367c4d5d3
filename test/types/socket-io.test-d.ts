/*
 * What users' programs may and may not say of Socket.IO. Checked by the compiler, never run.
 */
import { busy, type MovableSockets, moveSockets } from 'moult/socket.io';
import { Server, type Socket } from 'socket.io';

interface FromClient {
  say(text: string, done: (length: number) => void): void;
}
interface ToClient {
  said(text: string): void;
}
interface Data {
  name: string;
}

// Without a word.
moveSockets(new Server());

// With types of its own.
const io = new Server<FromClient, ToClient, Record<string, never>, Data>();
moveSockets(io);
moveSockets(io, {
  save: (socket) => ({ count: socket.data.name.length }),
  restore: (socket, { count }, version) => {
    socket.on('say', (text, done) => done(text.length + count + version));
    socket.emit('said', 'again');
  },
  moved: (socket) => socket.data.name.toUpperCase(),
});
// @ts-expect-error no such option
moveSockets(io, { saved: () => 3 });

const options: MovableSockets<{ count: number }> = { version: 2, oldestVersion: 1 };
moveSockets(new Server(), options);

io.on('connection', (socket) => {
  const end = busy(socket, Promise.resolve());
  end();
});
// @ts-expect-error a socket of a server
busy({} as { id: string });
export function plain(socket: Socket): void {
  busy(socket)();
}
