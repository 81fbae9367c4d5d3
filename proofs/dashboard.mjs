// `node proofs/dashboard.mjs`: a page of the dashboard is open in Chromium over restarts, a rollback and a failed release, all by
// its buttons, over connections that drain, and over an upgrade of the supervisor that serves it. Exit status 1 if it
// shows something else than what happens, if its console has an error, or axe-core finds something serious.
//
//   node proofs/dashboard.mjs --restarts 5 --draining 500 --screenshots docs/guide/images
import { mkdtemp, readFile, rm, unlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { chromium } from 'playwright-core';
import { freePort } from '../scripts/free-ports.mjs';
import { Clients } from './dashboard/clients.mjs';
import { ShownService } from './dashboard/shown-service.mjs';

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
const WIDE = { width: 1280, height: 900 };
const NARROW = { width: 390, height: 844 };
const SHOWS_MS = 60_000;
const AXE = createRequire(import.meta.url).resolve('axe-core/axe.min.js');

const { values } = parseArgs({
  options: {
    restarts: { type: 'string', default: '5' },
    draining: { type: 'string', default: '500' },
    /** A folder for pictures of the page. */
    screenshots: { type: 'string' },
    /** The result as one line of JSON. */
    json: { type: 'boolean', default: false },
  },
});

const found = { restarts: 0, draining: 0, problems: [] };
await inFolder((folder) => prove(folder)).catch((error) => found.problems.push(error.message));
if (values.json) console.log(JSON.stringify(found));
else {
  const { restarts, draining, problems } = found;
  console.log(`${restarts} restarts by the page's button, ${draining} draining connections shown`);
  for (const problem of problems) console.log(`    ${problem}`);
}
process.exitCode = found.problems.length === 0 ? 0 : 1;

async function inFolder(work) {
  const folder = await mkdtemp(path.join(tmpdir(), 'moult-dashboard-'));
  try {
    await work(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function prove(folder) {
  const service = await ShownService.start(folder, await freePort(), await freePort());
  const clients = new Clients(service.port);
  try {
    const browser = await chromium.launchPersistentContext(path.join(folder, 'profile'), {
      executablePath: CHROMIUM,
      args: FLAGS,
      viewport: WIDE,
      colorScheme: 'light',
    });
    try {
      await look(browser, service, clients);
    } finally {
      await browser.close();
    }
  } finally {
    clients.close();
    await service.stop();
  }
}

async function look(browser, service, clients) {
  const page = browser.pages()[0] ?? (await browser.newPage());
  page.setDefaultTimeout(SHOWS_MS);
  let isUpgrading = false;
  page.on('pageerror', (error) => found.problems.push(`error of the page: ${error.message}`));
  page.on('console', (message) => {
    // While the program of its server is exchanged the browser tells of each try.
    if (message.type() === 'error' && !isUpgrading) found.problems.push(`console: ${message.text()}`);
  });
  await page.goto(await service.link());
  await shows(page, '.live', /^live$/);
  if (page.url().includes('token')) found.problems.push('the token is still in the address');
  clients.begin();

  for (let restart = 1; restart <= Number(values.restarts); restart += 1) {
    await press(page, 'Restart');
    await shows(page, '[role=status]', new RegExp(`Generation ${restart + 1} has taken over`));
    await shows(page, '#stages', new RegExp(`generation ${restart + 1}$`));
    await shows(page, '.waterfall', /commit/);
    found.restarts += 1;
  }
  const last = Number(values.restarts) + 1;
  await press(page, 'Roll back');
  await shows(page, '[role=status]', new RegExp(`Generation ${last - 1} serves again`));
  await shows(page, '.outcome', /Undone/);

  await writeFile(service.broken, '');
  await press(page, 'Restart');
  await shows(page, '[role=status].result-bad', /exited with code 3/);
  await shows(page, '.outcome pre', /no such table: invoices/);
  await picture(page, 'failed', WIDE, 'light');
  await unlink(service.broken);

  await byKeyboard(page);
  await drain(page, clients);

  isUpgrading = true;
  await service.moult('upgrade', 'shop');
  await shows(page, '.summary', new RegExp(`supervisor ${service.pid}`));
  await page.waitForFunction(() => document.querySelector('.live')?.textContent === 'live');
  await press(page, 'Restart');
  await shows(page, '[role=status]', /has taken over/);
  isUpgrading = false;
}

async function drain(page, clients) {
  const wanted = Number(values.draining);
  await clients.hold(wanted);
  await press(page, 'Restart');
  await shows(page, '[role=status]', /has taken over/);
  await shows(page, '#draining + div', new RegExp(`^${wanted} connections of generation \\d+, cut in `));
  await shows(page, '#draining + div table', /http1.*its response was not finished/s);
  await shows(page, '.flow', /moved|moving/);
  found.draining = wanted;
  for (const [size, viewport] of [
    ['wide', WIDE],
    ['narrow', NARROW],
  ])
    for (const scheme of ['light', 'dark']) await picture(page, `${size}-${scheme}`, viewport, scheme);
  await page.setViewportSize(WIDE);
  clients.release();
  await page.waitForFunction(() => document.querySelector('#draining') === null);
}

async function press(page, name) {
  await page.getByRole('button', { name, exact: true }).click();
  const dialog = page.getByRole('dialog');
  await dialog
    .getByText(/generation/i)
    .first()
    .waitFor();
  await dialog.getByRole('button', { name, exact: true }).click();
}

/** Each button is reached and the dialog left without a mouse. */
async function byKeyboard(page) {
  const restart = page.getByRole('button', { name: 'Restart', exact: true });
  await restart.waitFor();
  await page.locator('body').press('Home');
  for (let tabs = 0; tabs < 20; tabs += 1) {
    await page.keyboard.press('Tab');
    if (await restart.evaluate((button) => document.activeElement === button)) break;
  }
  await page.keyboard.press('Enter');
  await page.getByRole('dialog').waitFor();
  await page.keyboard.press('Escape');
  await page.getByRole('dialog').waitFor({ state: 'detached' });
}

async function shows(page, selector, pattern) {
  try {
    await page.locator(selector, { hasText: pattern }).first().waitFor();
  } catch (error) {
    const is = await page.locator(selector).allTextContents();
    throw new Error(
      `expected ${pattern} in ${selector}, found ${JSON.stringify(is)} (${error.message.split('\n')[0]})`,
    );
  }
}

async function picture(page, name, viewport, colorScheme) {
  await page.setViewportSize(viewport);
  await page.emulateMedia({ colorScheme });
  await page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 300)));
  const isTooWide = await page.evaluate(() => document.documentElement.scrollWidth > innerWidth);
  if (isTooWide) found.problems.push(`${name}: the page is wider than its window`);
  await page.evaluate(await readFile(AXE, 'utf8'));
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  for (const { id, impact, help, nodes } of violations)
    if (['serious', 'critical'].includes(impact))
      found.problems.push(
        `${name}: axe-core: ${id} (${impact}): ${help}: ${nodes
          .map(({ html }) => html)
          .slice(0, 3)
          .join(' ')}`,
      );
  if (values.screenshots !== undefined)
    await page.screenshot({ path: path.join(values.screenshots, `dashboard-${name}.png`), fullPage: true });
}
