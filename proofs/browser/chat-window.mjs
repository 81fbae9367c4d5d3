/** A window with the chat, and what happened to its connections, as the browser itself reports it. */
export class ChatWindow {
  #webSockets = 0;
  #streams = 0;
  #problems;

  static async open(browser, address, name, problems) {
    const window = new ChatWindow();
    window.name = name;
    window.#problems = problems;
    window.page = await browser.newPage();
    window.#watch();
    await window.page.goto(`${address}?name=${name}`);
    for (const id of ['ws', 'events']) {
      await window.page.waitForFunction(
        (which) => document.getElementById(which).textContent.startsWith('open for'),
        id,
      );
    }
    return window;
  }

  #watch() {
    const { page } = this;
    page.on('websocket', (ws) => {
      this.#webSockets += 1;
      ws.on('close', () => this.#problem('its WebSocket was closed'));
      ws.on('socketerror', (error) => this.#problem(`its WebSocket failed: ${error}`));
    });
    page.on('request', (request) => {
      if (request.url().endsWith('/events')) this.#streams += 1;
    });
    for (const event of ['requestfailed', 'requestfinished']) {
      page.on(event, (request) => {
        if (request.url().endsWith('/events')) this.#problem('its EventSource was closed');
      });
    }
    page.on('pageerror', (error) => this.#problem(String(error)));
  }

  /** Waits until so many lines are there. */
  shows(count) {
    return this.page.waitForFunction(
      (n) => document.querySelectorAll('#log li:not(.note)').length >= n,
      count,
    );
  }

  /** Waits until its EventSource was told so. */
  isServedBy(generation) {
    return this.page.waitForFunction(
      (n) => document.getElementById('generation').textContent === String(n),
      generation,
    );
  }

  async check(expected) {
    const { lines, lost } = await this.page.evaluate(() => ({
      lines: [...document.querySelectorAll('#log li:not(.note)')].map((item) => item.lastChild.textContent),
      lost: [...document.querySelectorAll('#log .lost')].map((item) => item.textContent),
    }));
    if (JSON.stringify(lines) !== JSON.stringify(expected))
      this.#problem(`its lines are ${JSON.stringify(lines)}`);
    for (const text of lost) this.#problem(`it shows: ${text}`);
    if (this.#webSockets !== 1) this.#problem(`it has made ${this.#webSockets} WebSockets`);
    if (this.#streams !== 1) this.#problem(`it has asked for ${this.#streams} streams`);
    this.page.removeAllListeners();
  }

  #problem(what) {
    this.#problems.push(`${this.name}: ${what}`);
  }
}
