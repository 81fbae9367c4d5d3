// `node proofs/browser.mjs`: two windows of Chromium have the chat of examples/chat open, each with a WebSocket and an
// EventSource, and one of them types while the service is restarted. Exit status 1 if a connection was closed or made
// anew, or a line was lost, doubled or out of order.
//
//   node proofs/browser.mjs --secure
//   node proofs/browser.mjs --restarts 5 --screenshot docs/guide/images/chat.png
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { chromium } from 'playwright-core';
import { startUnderMoult } from '../dist/verify/moult/under-moult.js';
import { ChatWindow } from './browser/chat-window.mjs';

const CHROMIUM = '/usr/bin/chromium';
// No sandbox, since root may have none; nothing that asks the network for anything but the page.
const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];
const VIEWPORT = { width: 720, height: 560 };

const root = fileURLToPath(new URL('..', import.meta.url));
const chat = path.join(root, 'examples/chat');
const { values } = parseArgs({
  options: {
    restarts: { type: 'string', default: '5' },
    screenshot: { type: 'string' },
    /** Over TLS, which moves. */
    secure: { type: 'boolean', default: false },
    /** The result as one line of JSON. */
    json: { type: 'boolean', default: false },
  },
});

const found = await inFolder((folder) => prove(folder, Number(values.restarts), values.screenshot));
if (values.json) console.log(JSON.stringify(found));
else {
  const { restarts, moved, lines, problems } = found;
  console.log(
    `${restarts} restarts, ${moved} connections moved, ${lines} lines in two windows: ` +
      `${problems.length === 0 ? 'nothing closed, nothing lost' : 'FAILED'}`,
  );
  for (const problem of problems) console.log(`    ${problem}`);
}
process.exitCode = found.problems.length === 0 ? 0 : 1;

async function inFolder(work) {
  const folder = await mkdtemp(path.join(tmpdir(), 'moult-browser-'));
  try {
    return await work(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The same chat over TLS: beside what is built, where it finds moult. */
async function secured() {
  const own = path.join(root, 'build/chat-over-tls');
  await cp(chat, own, { recursive: true });
  const script = path.join(own, 'server.mjs');
  const text = await readFile(script, 'utf8');
  const servers = path.join(root, 'test/fixtures/services/secured.mjs');
  const over = `import { createHttpServer as createServer } from '${servers}';`;
  await writeFile(script, text.replace("import { createServer } from 'node:http';", over));
  return script;
}

async function prove(folder, restarts, screenshot) {
  const service = await startUnderMoult({
    command: [values.secure ? await secured() : path.join(chat, 'server.mjs')],
    runOptions: ['--probation', '200ms', ...(values.secure ? ['--tls', 'move'] : [])],
    env: {
      PORT: '0',
      CHAT_LOG: path.join(folder, 'chat.log'),
      CERTIFICATE: path.join(root, 'test/fixtures'),
    },
  });
  try {
    const browser = await chromium.launchPersistentContext(path.join(folder, 'profile'), {
      executablePath: CHROMIUM,
      args: FLAGS,
      viewport: VIEWPORT,
      ignoreHTTPSErrors: true,
    });
    try {
      return await typeOverRestarts(browser, service, restarts, screenshot);
    } finally {
      await browser.close();
    }
  } finally {
    await service.stop();
  }
}

async function typeOverRestarts(browser, service, restarts, screenshot) {
  const found = { restarts, moved: 0, lines: 0, problems: [] };
  try {
    await typeAndRestart(browser, service, found, screenshot);
  } catch (error) {
    // What waits in vain for a line comes after what closed.
    found.problems.push(error.message);
  }
  return found;
}

async function typeAndRestart(browser, service, found, screenshot) {
  const { restarts, problems } = found;
  const address = `${values.secure ? 'https' : 'http'}://${service.target.host}:${service.target.port}/`;
  const typing = await ChatWindow.open(browser, address, 'Otter', problems);
  const reading = await ChatWindow.open(browser, address, 'Heron', problems);
  const expected = [];
  const say = async (window, text, meanwhile) => {
    const field = window.page.locator('#text');
    const [, outcome] = await Promise.all([field.pressSequentially(text, { delay: 30 }), meanwhile?.()]);
    await field.press('Enter');
    expected.push(`${window.name}: ${text}`);
    found.lines += 1;
    for (const one of [typing, reading]) await one.shows(expected.length);
    return outcome;
  };
  await say(typing, 'Hello, Heron. I restart this chat now, and write on.');
  for (let restart = 1; restart <= restarts; restart += 1) {
    const text = `This was typed during restart ${restart}.`;
    const outcome = await say(typing, text, () => service.restart());
    if (!outcome.ok) problems.push(`restart ${restart}: ${JSON.stringify(outcome.error)}`);
    found.moved += outcome.summary?.moved ?? 0;
    for (const one of [typing, reading]) await one.isServedBy(restart + 1);
  }
  await say(reading, 'All of it came, and nothing of mine was closed.');
  for (const one of [typing, reading]) await one.check(expected);
  if (screenshot !== undefined) await reading.page.screenshot({ path: path.resolve(screenshot) });
}
