import { readFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type EndpointAddress, endpointText } from '../endpoint/address.js';
import { Endpoint } from '../endpoint/endpoint.js';
import { wallClockMs } from '../os/clock.js';
import type { RunFolder } from '../supervisor/journal/run-folder.js';
import { doAction, readAction } from './actions.js';
import { BrowserSessions } from './browser-sessions.js';
import { cookieName, isForThisHost, isFromOurPage, SECURITY_HEADERS, sessionOf } from './guard.js';
import { stream } from './page-stream.js';
import type { ShownFleet } from './watched-fleet.js';
import { WatchedServices } from './watched-services.js';

const MAX_CONNECTIONS = 64;
const TEXT = 'text/plain; charset=utf-8';

/** The page, as the build has made it. */
const FILES: Readonly<Record<string, readonly [string, string]>> = {
  '/': ['index.html', 'text/html; charset=utf-8'],
  '/app.js': ['app.js', 'text/javascript; charset=utf-8'],
  '/style.css': ['style.css', 'text/css; charset=utf-8'],
  '/icon.svg': ['icon.svg', 'image/svg+xml'],
};

/** How a dashboard is to be. */
export interface DashboardOptions {
  readonly address: EndpointAddress;
  /** The one service that it shows; all of this user where it is not given. */
  readonly only?: RunFolder;
  /** A fleet that it shows, too. */
  readonly fleet?: ShownFleet;
  /** A file in which sessions outlive this program. */
  readonly sessions?: string;
  /** It can be reached. @param link that lets one browser in. */
  readonly opened: (where: string, link: string) => void;
  readonly failed: (error: Error) => void;
  /** A link has let a browser in, and is of no use any more. */
  readonly entered?: () => void;
}

/** Serves the page, what it shows, and what it asks for: to whoever came by a link, and to nobody else. */
export class DashboardServer {
  readonly #options: DashboardOptions;
  readonly #services: WatchedServices;
  readonly #sessions: BrowserSessions;
  readonly #endpoint: Endpoint;
  #where: EndpointAddress;

  constructor(options: DashboardOptions) {
    this.#options = options;
    this.#where = options.address;
    this.#services = new WatchedServices(options.only, options.fleet);
    this.#sessions = new BrowserSessions(options.sessions);
    this.#endpoint = new Endpoint(
      options.address,
      (request, response) => this.#answer(request, response),
      {
        opened: (where) => {
          this.#where = where;
          options.opened(this.url, this.link());
        },
        failed: options.failed,
      },
      MAX_CONNECTIONS,
    );
    this.#endpoint.open();
  }

  get url(): string {
    return 'path' in this.#where ? endpointText(this.#where) : `http://${endpointText(this.#where)}/`;
  }

  /** Lets one browser in, once, within ten minutes. */
  link(): string {
    return `${this.url}?token=${this.#sessions.token(wallClockMs())}`;
  }

  close(): void {
    this.#services.close();
    this.#endpoint.close();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    for (const [name, value] of Object.entries(SECURITY_HEADERS)) response.setHeader(name, value);
    if (!isForThisHost(request, this.#where))
      return refuse(response, 421, 'this is not the host that you asked for');
    const url = new URL(request.url ?? '/', 'http://moult');
    const token = url.searchParams.get('token');
    if (request.method === 'GET' && url.pathname === '/' && token !== null)
      return this.#enter(response, token);
    if (!this.#sessions.has(sessionOf(request, cookieName(this.#where))))
      return refuse(response, 401, NO_SESSION);
    if (request.method === 'POST' && url.pathname === '/act') return this.#act(request, response);
    if (request.method !== 'GET') return refuse(response, 405, 'only GET, and POST of /act');
    if (url.pathname === '/events') return stream(response, this.#services);
    const file = FILES[url.pathname];
    if (file === undefined) return refuse(response, 404, 'there is nothing here');
    const [name, type] = file;
    response.writeHead(200, { 'content-type': type }).end(pageFile(name));
  }

  // Not in the address any more: it would be in the history of the browser.
  #enter(response: ServerResponse, token: string): void {
    const session = this.#sessions.begin(token, wallClockMs());
    if (session === undefined) {
      refuse(response, 401, NO_SESSION);
      return;
    }
    this.#options.entered?.();
    // Lax, for whoever follows the link from another page: what acts asks for more than a cookie.
    const cookie = `${cookieName(this.#where)}=${session}; HttpOnly; SameSite=Lax; Path=/`;
    response.writeHead(303, { location: '/', 'set-cookie': cookie }).end();
  }

  async #act(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (!isFromOurPage(request))
      return refuse(response, 403, 'only the page of this dashboard may ask for that');
    const asked = await readAction(request);
    if (asked === undefined)
      return refuse(response, 400, 'expected an action, a service, and slots to scale');
    const result = await doAction(asked, this.#services);
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(result));
  }
}

/** From beside this program, whether it is bundled or not. */
function pageFile(name: string): Buffer {
  return readFileSync(new URL(import.meta.resolve(`#moult/dashboard/page/${name}`)));
}

const NO_SESSION =
  'This page needs a link that moult gives, and each works once: moult dashboard prints one, moult dashboard --link for a service that was started with --dashboard.';

function refuse(response: ServerResponse, status: number, why: string): void {
  response.writeHead(status, { 'content-type': TEXT }).end(`${why}\n`);
}
