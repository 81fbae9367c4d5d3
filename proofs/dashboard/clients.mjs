import http from 'node:http';
import net from 'node:net';

const PAUSE_MS = 25;

/** Some traffic, and connections whose responses do not end. */
export class Clients {
  #port;
  #agent = new http.Agent({ keepAlive: true, maxSockets: 4 });
  #held = [];
  #timer;

  constructor(port) {
    this.#port = port;
  }

  begin() {
    let count = 0;
    this.#timer = setInterval(() => {
      count += 1;
      const path = count % 23 === 0 ? '/error' : '/';
      http
        .get({ port: this.#port, path, agent: this.#agent }, (response) => response.resume())
        .on('error', () => {});
    }, PAUSE_MS);
  }

  /** Opens so many, and waits until each response has begun. */
  async hold(count) {
    for (let i = 0; i < count; i += 1) {
      const socket = net.connect(this.#port, '127.0.0.1').on('error', () => {});
      socket.write('GET /stream HTTP/1.1\r\nHost: shop\r\n\r\n');
      this.#held.push(socket);
      await new Promise((resolve) => socket.once('data', resolve));
    }
  }

  release() {
    for (const socket of this.#held.splice(0)) socket.destroy();
  }

  close() {
    clearInterval(this.#timer);
    this.release();
    this.#agent.destroy();
  }
}
