import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import http from 'node:http';
import net from 'node:net';
import path from 'node:path';
import { describe, it } from 'node:test';
import { lacks } from '../support/debian.js';
import { freePort } from '../support/free-ports.js';
import { cli, fixture, root, runNode, until, withService } from './supervised.js';

interface Answer {
  readonly status: number;
  readonly headers: http.IncomingHttpHeaders;
  readonly text: string;
}

function ask(port: number, options: http.RequestOptions, body = ''): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = http.request({ host: '127.0.0.1', port, agent: false, ...options }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, text }),
      );
    });
    request.on('error', reject);
    request.end(body);
  });
}

/** The first message of its stream. */
function firstEvent(port: number, cookie: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = http.get(
      { host: '127.0.0.1', port, path: '/events', headers: { cookie } },
      (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (part: string) => {
          text += part;
          const message = /^data: (.*)$/m.exec(text)?.[1];
          if (message === undefined) return;
          resolve(message);
          request.destroy();
        });
      },
    );
    request.on('error', reject);
  });
}

const env = { PORT: '0' };
const command = [fixture('http.mjs')];

describe('moult run --dashboard', () => {
  it('shows and obeys whoever came by a link, once, and nobody else; and a restart waits for no stuck page', async () => {
    const at = await freePort();
    const runOptions = ['--dashboard', String(at), '--probation', '300ms'];
    await withService({ command, env, runOptions }, async (service) => {
      await service.logs(/the dashboard is served at http:\/\/127\.0\.0\.1:\d+\//);
      assert.ok(!service.output.includes('token'), 'no log has a token');
      const link = new URL((await service.moult('dashboard', '--link')).stdout.trim());
      const enter = () => ask(at, { path: link.pathname + link.search });
      for (const path of ['/', '/app.js', '/events', '/?token=', '/?token=x'])
        assert.equal((await ask(at, { path })).status, 401, path);
      assert.equal((await ask(at, { path: '/act', method: 'POST' })).status, 401);
      const entered = await enter();
      assert.equal(entered.status, 303);
      assert.equal(entered.headers.location, '/');
      const [cookie = '', ...attributes] = String(entered.headers['set-cookie']).split('; ');
      assert.ok(attributes.includes('HttpOnly') && attributes.includes('SameSite=Lax'));
      assert.equal((await enter()).status, 401, 'the same link again');

      const page = await ask(at, { path: '/', headers: { cookie } });
      assert.equal(page.status, 200);
      assert.match(String(page.headers['content-security-policy']), /default-src 'none'/);
      assert.doesNotMatch(page.text, /<script>|style="|onclick|https?:\/\//);
      for (const path of ['/app.js', '/style.css', '/icon.svg'])
        assert.equal((await ask(at, { path, headers: { cookie } })).status, 200, path);
      for (const path of ['/../package.json', '/%2e%2e/package.json', '/page/app.js'])
        assert.equal((await ask(at, { path, headers: { cookie } })).status, 404, path);

      const act = (headers: Record<string, string>, body: string) =>
        ask(at, { path: '/act', method: 'POST', headers: { cookie, ...headers } }, body);
      const restart = JSON.stringify({ action: 'restart', service: 'service' });
      const origin = `http://127.0.0.1:${at}`;
      const own = { origin, 'x-moult-action': '1' };
      assert.equal((await act({}, restart)).status, 403);
      assert.equal((await act({ ...own, origin: 'http://evil.example' }, restart)).status, 403);
      assert.equal((await act({ origin, 'content-type': 'text/plain' }, restart)).status, 403);
      assert.equal((await act({ ...own, host: 'evil.example' }, restart)).status, 421);
      for (const wrong of [
        '',
        '{',
        '[]',
        '{"action":"stop","service":"service"}',
        '{"action":"scale","service":"service","slots":0}',
      ])
        assert.equal((await act(own, wrong)).status, 400, wrong);
      assert.equal((await act(own, 'x'.repeat(100_000)).catch(() => ({ status: 400 }))).status, 400);
      assert.equal((await service.status()).restarts, 0, 'none of it has acted');

      const stuck = net.connect(at, '127.0.0.1').on('error', () => {});
      stuck.pause().write(`GET /events HTTP/1.1\r\nHost: localhost\r\nCookie: ${cookie}\r\n\r\n`);
      const done = await act(own, restart);
      assert.deepEqual(JSON.parse(done.text), { ok: true, message: 'Generation 2 has taken over.' });
      const refused = await act(own, JSON.stringify({ action: 'scale', service: 'service', slots: 2 }));
      assert.match(refused.text, /"ok":false.*started without slots/);
      const unknown = await act(own, JSON.stringify({ action: 'restart', service: '../other' }));
      assert.match(unknown.text, /no service named/);
      const whole = await firstEvent(at, cookie);
      assert.match(whole, /^\{"type":"whole"/);
      assert.match(whole, /"stage":"commit"/);
      await until('the measures have come', async () => /"loopDelayMs"/.test(await firstEvent(at, cookie)));

      await service.moult('upgrade', service.name);
      await until('the session outlives the upgrade', async () =>
        /"whole"/.test(await firstEvent(at, cookie).catch(() => '')),
      );
      await service.restart();
      stuck.destroy();
    });
  });

  it('without an address of its own is a command that shows all services, until it is ended', async () => {
    await withService({ command, env }, async (service) => {
      const childEnv = { ...process.env, XDG_RUNTIME_DIR: service.runtimeFolder, NO_COLOR: '1' };
      const dashboard = spawn(process.execPath, [cli, 'dashboard'], {
        env: childEnv,
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      try {
        let said = '';
        dashboard.stdout.setEncoding('utf8').on('data', (part: string) => {
          said += part;
        });
        const link = await until('it prints a link', () => /open (http:\S+)/.exec(said)?.[1]);
        const { port, pathname, search } = new URL(link);
        const { headers } = await ask(Number(port), { path: pathname + search });
        const [cookie = ''] = String(headers['set-cookie']).split('; ');
        await until('it shows the service', async () =>
          /"name":"service"/.test(await firstEvent(Number(port), cookie)),
        );
        await until('it prints another link', () => /for another browser: http:\S+/.test(said));
        assert.match((await service.moult('dashboard', '--link')).stderr, /without --dashboard/);
      } finally {
        const ended = new Promise((resolve) => dashboard.once('exit', resolve));
        dashboard.kill('SIGTERM');
        assert.equal(await ended, 0);
      }
    });
  });
});

describe('the dashboard in Chromium', { skip: lacks('chromium') }, () => {
  it('shows a restart, a rollback, a failed release and what drains, by its buttons and over an upgrade', async () => {
    const { NODE_TEST_CONTEXT: _, ...own } = process.env;
    const args = [path.join(root, 'proofs/dashboard.mjs'), '--json', '--restarts', '1', '--draining', '20'];
    const { stdout, stderr } = await runNode(args, own);
    assert.equal(stderr, '');
    assert.deepEqual(JSON.parse(stdout), { restarts: 1, draining: 20, problems: [] });
  });
});
