import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { join } from 'node:path';
import { cli, Supervised } from '../integration/supervised.js';
import { freePort } from '../support/free-ports.js';

/** A machine of a fleet: a folder with releases behind a link, and a service under moult. */
export interface Host {
  readonly name: string;
  readonly port: number;
  readonly run: Supervised;
  /** The last agent of it that said so. */
  agentPid(): number;
}

/** What the service of a release does before it listens: it may be broken. */
export type Releases = Readonly<Record<string, string>>;

/** Writes releases: each answers with its id, after it has run what it is broken by. */
export function writeReleases(folder: string, releases: Releases): void {
  for (const [id, breaks] of Object.entries(releases)) {
    mkdirSync(join(folder, 'releases', id), { recursive: true });
    const text = `import { createServer } from 'node:http';
let status = 200;
${breaks}
createServer((request, response) => {
  response.statusCode = request.url === '/healthz' ? 200 : status;
  response.end('${id}');
}).listen(Number(process.env.PORT), '127.0.0.1');
`;
    writeFileSync(join(folder, 'releases', id, 'server.mjs'), text);
  }
}

/** Starts a host that has the first release. */
export async function startHost(
  folder: string,
  url: string,
  name: string,
  zone: string,
  runOptions: readonly string[] = [],
): Promise<Host> {
  const home = join(folder, name);
  mkdirSync(home, { recursive: true });
  symlinkSync('../releases/1', join(home, 'current'));
  const settings = {
    servers: url,
    host: name,
    labels: { zone },
    // What is meant for the agent alone would have it fail.
    deploy:
      'test -z "$MOULT_FLEET" && test "$MOULT_RELEASE" != undeployable && ln -s "../releases/$MOULT_RELEASE" new && mv -T new current',
  };
  writeFileSync(join(home, 'fleet.json'), JSON.stringify(settings));
  const port = await freePort();
  const run = await Supervised.start({
    name: 'api',
    command: ['current/server.mjs'],
    cwd: home,
    env: { PORT: String(port), ZONE: zone },
    runOptions: ['--fleet', 'fleet.json', '--probation', '500ms', ...runOptions],
  });
  const agentPid = () => {
    const said = [...run.stderr.matchAll(/"pid":(\d+),"name":"moult","msg":"fleet: joined/g)];
    return Number(said.at(-1)?.[1] ?? assert.fail(`${name} has not joined:\n${run.output}`));
  };
  return { name, port, run, agentPid };
}

/** What a host answers. */
export function answerOf({ port }: Pick<Host, 'port'>): Promise<string> {
  return new Promise((resolve, reject) => {
    get({ host: '127.0.0.1', port, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
      response.on('end', () => resolve(response.statusCode === 200 ? text : `status ${response.statusCode}`));
      response.on('error', reject);
    }).on('error', reject);
  });
}

/** Asks hosts all the time, one request after another at each. */
export class Asking {
  answered = 0;
  readonly failures: string[] = [];
  #isOver = false;
  readonly #all: Promise<unknown>;

  constructor(hosts: readonly Host[]) {
    this.#all = Promise.all(
      hosts.map(async (host) => {
        while (!this.#isOver) {
          const answer = await answerOf(host).catch((error: Error) => `failed: ${error.message}`);
          if (/^(failed|status)/.test(answer)) this.failures.push(`${host.name}: ${answer}`);
          else this.answered += 1;
          await new Promise((resolve) => setTimeout(resolve, 10));
        }
      }),
    );
  }

  async end(): Promise<void> {
    this.#isOver = true;
    await this.#all;
  }
}

/** Runs `moult fleet …` as an operator would. */
export function fleet(
  url: string,
  ...args: string[]
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  return new Promise((resolve, reject) => {
    const env: NodeJS.ProcessEnv = { ...process.env, MOULT_FLEET: url, NO_COLOR: '1' };
    delete env.NODE_OPTIONS;
    delete env.NODE_TEST_CONTEXT;
    const child = spawn(process.execPath, [cli, 'fleet', ...args], {
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let [stdout, stderr] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, stdout, stderr }));
  });
}
