// `node scripts/debian-packages.mjs`: installs the Debian packages whose programs the tests start, or those
// that are named, where they are missing. With everything there it looks at a few files and is done. Exit status: 0
// when they are there; 2 where it cannot install, without root or apt-get, and says what to install; 1 when apt-get
// fails.
import { execFileSync } from 'node:child_process';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import process from 'node:process';

/** Each package that the tests need, and a file of it by which it is seen to be there. */
const PACKAGES = {
  chromium: '/usr/bin/chromium',
  logrotate: '/usr/sbin/logrotate',
  mosquitto: '/usr/sbin/mosquitto',
  'nats-server': '/usr/sbin/nats-server',
  'nghttp2-client': '/usr/bin/h2load',
  python3: '/usr/bin/python3',
  'rabbitmq-server': '/usr/sbin/rabbitmq-server',
  'redis-server': '/usr/bin/redis-server',
};
/** The same of those that only benchmarks need, and name. */
const ON_DEMAND = {
  'golang-github-cloudflare-tableflip-dev':
    '/usr/share/gocode/src/github.com/cloudflare/tableflip/upgrader.go',
  'golang-go': '/usr/bin/go',
  gunicorn: '/usr/bin/gunicorn',
  haproxy: '/usr/sbin/haproxy',
  nginx: '/usr/sbin/nginx',
};

const APT_GET = '/usr/bin/apt-get';
/** While it says 101, no package starts the service that it brings. Source: invoke-rc.d(8). */
const START_POLICY = '/usr/sbin/policy-rc.d';

/** A mirror that stands still must not hold the tests. */
const INSTALL_MS = 15 * 60_000;

const wanted = process.argv.slice(2);
const files = { ...PACKAGES, ...ON_DEMAND };
const unknown = wanted.find((name) => !Object.hasOwn(files, name));
if (unknown !== undefined)
  throw new TypeError(`expected ${Object.keys(files).join(', ')}, received ${unknown}`);

const missing = (wanted.length > 0 ? wanted : Object.keys(PACKAGES)).filter(
  (name) => !existsSync(files[name]),
);
if (missing.length > 0) process.exitCode = install();

function install() {
  if (process.getuid?.() !== 0 || !existsSync(APT_GET)) {
    console.error(
      `not installed: ${missing.join(', ')}; on Debian, as root: apt-get install ${missing.join(' ')}`,
    );
    return 2;
  }
  console.error(`installing ${missing.join(', ')} of Debian`);
  const isOwnPolicy = !existsSync(START_POLICY);
  if (isOwnPolicy) writeFileSync(START_POLICY, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  try {
    aptGet('update', '-qq');
    aptGet('install', '-qq', '-y', '--no-install-recommends', ...missing);
    return 0;
  } catch (error) {
    console.error(`${error.message}\n${error.stderr ?? ''}`);
    return 1;
  } finally {
    if (isOwnPolicy) rmSync(START_POLICY, { force: true });
  }
}

function aptGet(...words) {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  // Another of the tests may be installing something.
  const args = ['-o', 'DPkg::Lock::Timeout=300', ...words];
  execFileSync(APT_GET, args, { env, stdio: ['ignore', 'ignore', 'pipe'], timeout: INSTALL_MS });
}
