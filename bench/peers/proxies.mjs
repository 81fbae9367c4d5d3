// nginx and HAProxy: each stands before the service in Node, which itself is not restarted.
import { execFile } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { program, startListening, stopChild, temporaryFolder } from '../measure/processes.mjs';
import { install, versionOf } from './debian.mjs';
import { childrenOf } from './process-tree.mjs';
import { freePort, startServer } from './server.mjs';

const NGINX = '/usr/sbin/nginx';
/** Longer than a proxy keeps an unused connection to the service. */
const SERVICE_KEEP_ALIVE_MS = 120_000;

/** @type {import('./server.mjs').PeerKind} */
export const nginx = {
  name: 'nginx, -s reload',
  prepare() {
    install('nginx');
    return versionOf('nginx');
  },
  start: () =>
    proxy((folder, port, service) => {
      const config = join(folder, 'nginx.conf');
      writeFileSync(config, nginxConfig(folder, port, service));
      const args = ['-p', folder, '-c', config];
      const reload = () => promisify(execFile)(NGINX, [...args, '-s', 'reload']);
      return { command: [NGINX, ...args], reload };
    }),
};

/** @type {import('./server.mjs').PeerKind} */
export const haproxy = {
  name: 'HAProxy, SIGUSR2',
  prepare() {
    install('haproxy');
    return versionOf('haproxy');
  },
  start: () =>
    proxy((folder, port, service) => {
      const config = join(folder, 'haproxy.cfg');
      writeFileSync(config, haproxyConfig(folder, port, service));
      const command = ['/usr/sbin/haproxy', '-W', '-f', config];
      return { command, reload: async (pid) => process.kill(pid, 'SIGUSR2') };
    }),
};

/** @param {(folder: string, port: number, service: number) => { command: string[], reload: (pid: number) => Promise<unknown> }} configure */
async function proxy(configure) {
  const folder = temporaryFolder('moult-bench-proxy-');
  const service = await startListening([program('peer-service.mjs')], {
    KEEP_ALIVE_MS: String(SERVICE_KEEP_ALIVE_MS),
  });
  const port = await freePort();
  const { command, reload } = configure(folder, port, service.port);
  const server = await startServer(command, port).catch(async (error) => {
    await stopChild(service.child, 'SIGTERM');
    throw error;
  });
  const serving = () => childrenOf(server.pid);
  return {
    port,
    serving,
    all: () => [server.pid, ...serving(), service.pid],
    restart: () => reload(server.pid),
    async stop() {
      await stopChild(server.child, 'SIGTERM');
      await stopChild(service.child, 'SIGTERM');
    },
  };
}

// Connections are not ended for having had many requests: that would be no part of a reload.
function nginxConfig(folder, port, service) {
  mkdirSync(join(folder, 'temporary'));
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    (name) => `  ${name}_temp_path ${folder}/temporary/${name};`,
  );
  // Its workers must reach what is in the folder.
  const user = process.getuid?.() === 0 ? 'user root;\n' : '';
  return `${user}daemon off;
pid ${folder}/nginx.pid;
error_log stderr;
worker_processes auto;
events { worker_connections 4096; }
http {
  access_log off;
${temporary.join('\n')}
  keepalive_timeout 75s;
  keepalive_requests 1000000;
  upstream service {
    server 127.0.0.1:${service};
    keepalive 64;
    keepalive_requests 1000000;
  }
  server {
    listen 127.0.0.1:${port};
    location / {
      proxy_pass http://service;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
    }
  }
}
`;
}

function haproxyConfig(folder, port, service) {
  return `global
  maxconn 4096
  stats socket ${folder}/stats.sock mode 600 level admin expose-fd listeners
defaults
  mode http
  option http-keep-alive
  timeout connect 5s
  timeout client 75s
  timeout server 75s
  timeout http-keep-alive 75s
frontend clients
  bind 127.0.0.1:${port}
  default_backend service
backend service
  server service 127.0.0.1:${service}
`;
}
