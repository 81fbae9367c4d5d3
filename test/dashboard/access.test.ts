import assert from 'node:assert/strict';
import { readFileSync, statSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import path from 'node:path';
import { describe, it } from 'node:test';
import { BrowserSessions } from '#moult/dashboard/browser-sessions.js';
import { isForThisHost, isFromOurPage, SECURITY_HEADERS } from '#moult/dashboard/guard.js';
import { parseEndpoint } from '#moult/endpoint/address.js';
import { withFolder } from '../integration/supervised.js';

const MINUTE_MS = 60_000;

function request(headers: Record<string, string>): IncomingMessage {
  return { headers } as unknown as IncomingMessage;
}

describe('sessions of the dashboard', () => {
  it('begin with a token once, within ten minutes, and are known by their word alone', () => {
    const sessions = new BrowserSessions();
    const token = sessions.token(0);
    const session = sessions.begin(token, MINUTE_MS);
    assert.ok(session !== undefined && sessions.has(session));
    assert.equal(sessions.begin(token, MINUTE_MS), undefined, 'a token that was used');
    assert.equal(sessions.begin(sessions.token(0), 11 * MINUTE_MS), undefined, 'a token that is too old');
    assert.equal(sessions.begin('', 0), undefined);
    for (const other of [undefined, '', token, `${session}x`]) assert.equal(sessions.has(other), false);
  });

  it('are bounded, as are tokens: the oldest go first', () => {
    const sessions = new BrowserSessions();
    const [first, ...others] = Array.from({ length: 20 }, () => sessions.begin(sessions.token(0), 0));
    assert.equal(sessions.has(first), false);
    assert.equal(sessions.has(others.at(-1)), true);
    const tokens = Array.from({ length: 20 }, () => sessions.token(0));
    assert.equal(sessions.begin(tokens[0] ?? '', 0), undefined);
    assert.notEqual(sessions.begin(tokens.at(-1) ?? '', 0), undefined);
  });

  it('outlive the program in a file that is private and has no word of them', async () => {
    await withFolder(async (folder) => {
      const file = path.join(folder, 'sessions');
      const before = new BrowserSessions(file);
      const session = before.begin(before.token(0), 0);
      assert.equal(new BrowserSessions(file).has(session), true);
      assert.ok(!readFileSync(file, 'utf8').includes(session ?? ''));
      assert.equal(statSync(file).mode & 0o777, 0o600);
    });
  });
});

describe('what the dashboard lets act', () => {
  const ours = { host: '127.0.0.1:9465', origin: 'http://127.0.0.1:9465', 'x-moult-action': '1' };

  it('is its own page, and no page of another site', () => {
    assert.equal(isFromOurPage(request(ours)), true);
    assert.equal(isFromOurPage(request({ ...ours, 'sec-fetch-site': 'same-origin' })), true);
    const { origin: _, ...withoutOrigin } = ours;
    const { 'x-moult-action': __, ...withoutHeader } = ours;
    for (const foreign of [
      { ...ours, origin: 'http://evil.example' },
      { ...ours, origin: 'http://127.0.0.1:8080' },
      { ...ours, origin: 'null' },
      { ...ours, origin: 'http://127.0.0.1:9465.evil.example' },
      { ...ours, 'sec-fetch-site': 'cross-site' },
      { ...ours, 'sec-fetch-site': 'same-site' },
      withoutOrigin,
      withoutHeader,
    ])
      assert.equal(isFromOurPage(request(foreign)), false, JSON.stringify(foreign));
  });

  it('on loopback is asked for by names of this machine only', () => {
    const loopback = { host: '127.0.0.1', port: 9465 };
    for (const host of ['localhost:9465', '127.0.0.1:9465', '[::1]:9465', '127.8.1.2'])
      assert.equal(isForThisHost(request({ host }), loopback), true, host);
    for (const host of ['evil.example:9465', '127.0.0.1.evil.example', 'localhost.evil.example', ''])
      assert.equal(isForThisHost(request({ host }), loopback), false, host);
    assert.equal(isForThisHost(request({ host: 'ops.example' }), { host: '10.0.0.1', port: 1 }), true);
  });

  it('lives under a policy that allows nothing inline and nothing from elsewhere', () => {
    const policy = SECURITY_HEADERS['content-security-policy'];
    assert.match(policy, /default-src 'none'/);
    assert.doesNotMatch(policy, /unsafe|https?:|\*/);
  });
});

describe('the address of an endpoint', () => {
  it('is an address with a port, a port of loopback, or a path; nothing else', () => {
    assert.deepEqual(parseEndpoint('9465', '/'), { host: '127.0.0.1', port: 9465 });
    assert.deepEqual(parseEndpoint('0.0.0.0:1', '/'), { host: '0.0.0.0', port: 1 });
    assert.deepEqual(parseEndpoint('[::1]:80', '/'), { host: '::1', port: 80 });
    assert.deepEqual(parseEndpoint('localhost:80', '/'), { host: 'localhost', port: 80 });
    assert.deepEqual(parseEndpoint('unix:m.sock', '/run'), { path: '/run/m.sock' });
    for (const wrong of [
      '',
      'x',
      '1:2:3',
      '65536',
      'example.org:80',
      'unix:',
      `unix:/${'x'.repeat(200)}`,
      '::1:80',
    ])
      assert.equal(parseEndpoint(wrong, '/'), undefined, wrong);
  });
});
