// h2load of nghttp2 (Debian's package nghttp2-client), one run after the other. It does not connect anew when it is told
// to go: it finishes what it has asked for, and gives the rest of its requests up as errors that were never started. The
// next run finds the successor. It counts a request as started when it is queued, and as failed where the GOAWAY came
// before it was sent. So a relay in between counts what was sent, where there is no TLS, and sees each reset.
import { spawn, spawnSync } from 'node:child_process';
import { Relay } from './relay.mjs';
import { Tally } from './tally.mjs';

const CLIENTS = 8;
const STREAMS = 4;
const PER_SECOND_EACH = 40;
const REQUESTS_EACH = 400;
const SUMMARY = /^requests: (\d+) total, (\d+) started, (\d+) done, (\d+) succeeded, .*$/m;
const STATUSES = /^status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx$/m;

/** Whether this machine has it. */
export function hasH2load() {
  return spawnSync('h2load', ['--version'], { stdio: 'ignore' }).status === 0;
}

export class H2loadClients {
  tally = new Tally();
  #scheme;
  #relay;
  #loop;
  #isOver = false;
  #sentBefore = 0;
  #child;

  constructor(url) {
    const { protocol, port } = new URL(url);
    this.#scheme = protocol;
    this.#relay = new Relay(Number(port), (error) => this.tally.failed('a connection of h2load', error));
    this.#loop = this.#repeat();
  }

  async stop() {
    this.#isOver = true;
    await this.#loop;
    this.#relay.close();
  }

  async #repeat() {
    const port = await this.#relay.port;
    while (!this.#isOver) this.#judge(await this.#run(`${this.#scheme}//127.0.0.1:${port}/short`));
  }

  #run(url) {
    const args = [
      ...['--clients', CLIENTS, '--max-concurrent-streams', STREAMS, '--rps', PER_SECOND_EACH],
      ...['--requests', CLIENTS * REQUESTS_EACH, url],
    ];
    return new Promise((resolve, reject) => {
      this.#child = spawn('h2load', args.map(String), { stdio: ['ignore', 'pipe', 'pipe'] });
      let output = '';
      for (const stream of [this.#child.stdout, this.#child.stderr]) {
        stream.setEncoding('utf8').on('data', (text) => {
          output += text;
        });
      }
      this.#child.once('error', reject);
      this.#child.once('close', (code) => resolve({ code, output }));
    });
  }

  #judge({ code, output }) {
    const summary = SUMMARY.exec(output);
    const statuses = STATUSES.exec(output);
    if (summary === null || statuses === null) {
      this.tally.failed('h2load', `ended with ${code}: ${output.slice(-500)}`);
      return;
    }
    const [total, started, , succeeded] = summary.slice(1).map(Number);
    const right = Number(statuses[1]);
    this.tally.answered += right;
    if (started < total) this.tally.told += CLIENTS;
    const sent = this.#scheme === 'http:' ? this.#relay.requests - this.#sentBefore : started;
    this.#sentBefore = this.#relay.requests;
    this.tally.refused += sent - succeeded;
    this.tally.unsent += started - sent;
    if (right !== succeeded) this.tally.failed('h2load', `${summary[0]}; ${statuses[0]}`);
  }
}
