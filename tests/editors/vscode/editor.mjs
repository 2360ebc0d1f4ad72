// What a person does in VS Code, and what they see. Nothing sleeps: everything waits for a sight.

import { mkdirSync } from "node:fs";
import { join } from "node:path";

const MINUTE = 60_000;

/** Settings of a window in which nothing but the work is seen. */
export const QUIET = {
  "workbench.colorTheme": "Dark Modern",
  "workbench.startupEditor": "none",
  "workbench.editor.useModal": "off",
  "workbench.secondarySideBar.defaultVisibility": "hidden",
  "chat.disableAIFeatures": true,
  "editor.minimap.enabled": false,
  "files.exclude": { "**/.venv": true },
  "telemetry.telemetryLevel": "off",
  "extensions.autoCheckUpdates": false,
  "security.workspace.trust.startupPrompt": "never",
  "security.workspace.trust.banner": "never",
};

export class Editor {
  /** pictures: the folder that they are written to; without one none are. */
  constructor(page, pictures) {
    this.page = page;
    this.pictures = pictures;
    page.setDefaultTimeout(5 * MINUTE);
  }

  /** Keep what is seen, once nothing moves or fades any more. */
  async picture(name) {
    if (!this.pictures) return;
    mkdirSync(this.pictures, { recursive: true });
    await this.page.evaluate(() => {
      const ends = (animation) => animation.effect?.getComputedTiming().endTime !== Infinity;
      const moving = document.getAnimations().filter(ends);
      return Promise.all(moving.map(({ finished }) => finished.catch(() => {})));
    });
    await this.page.screenshot({ path: join(this.pictures, `vscode-${name}.png`) });
  }

  /** Press a button that is in something. */
  async press(selector, button) {
    await this.page.locator(selector).locator(".monaco-button", { hasText: button }).first().click();
  }

  /** Open the window, until the status bar has our item. */
  async open(address) {
    await this.page.goto(address);
    await this.page.waitForSelector(".monaco-workbench .part.statusbar");
  }

  /** What the palette is typed into. */
  get input() {
    return this.page.locator(".quick-input-widget input[type=text]").first();
  }

  /** Our item in the status bar. */
  get status() {
    return this.page.locator(".statusbar-item", { hasText: "codeprompt" }).first();
  }

  /** Open a file of the project from the explorer. */
  async file(name) {
    await this.page.locator(".explorer-folders-view .monaco-list-row", { hasText: name }).dblclick();
    await this.page.waitForSelector(`.tab.active:has-text("${name}")`);
    await this.page.waitForSelector(".editor-instance .view-line");
  }

  /** Trust the folder, as the page for it offers. */
  async trust() {
    await this.command("Workspaces: Manage Workspace Trust");
    await this.page.locator(".workspace-trust-editor .monaco-button", { hasText: /^Trust$/ }).first().click();
    await this.sees(".workspace-trust-editor", "You trust this folder");
    await this.command("View: Close Editor");
  }

  /** Put the cursor on a line, in the middle of the window. */
  async line(number, column = 1) {
    await this.page.keyboard.press("Control+G");
    await this.input.fill(`:${number}:${column}`);
    await this.input.press("Enter");
    await this.input.waitFor({ state: "hidden" });
  }

  /** Run a command of the palette. */
  async command(title) {
    await this.page.keyboard.press("F1");
    await this.input.fill(`>${title}`);
    await this.page.waitForSelector(`.quick-input-list .monaco-list-row:has-text("${title}")`);
    await this.input.press("Enter");
  }

  /** Where a word stands in the code, in pixels. It must be in sight. */
  async word(line, word) {
    const row = this.page.locator(".view-line", { hasText: line }).first();
    await row.waitFor();
    const box = await row.evaluate((element, wanted) => {
      const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
      for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        const at = node.data.indexOf(wanted);
        if (at < 0) continue;
        const range = document.createRange();
        range.setStart(node, at);
        range.setEnd(node, at + wanted.length);
        const { x, y, width, height } = range.getBoundingClientRect();
        return { x: x + width / 2, y: y + height / 2 };
      }
      return null;
    }, word);
    if (!box) throw new Error(`'${word}' is not in sight`);
    return box;
  }

  /** Point at nothing. */
  async away() {
    await this.page.mouse.move(200, 500);
  }

  /** Point at a word until a hover says what is wanted; its text. The pointer goes away between. */
  async hover(line, word, wanted, minutes = 2) {
    const hover = this.page.locator(".monaco-hover:visible", { hasText: /\S/ });
    const deadline = Date.now() + minutes * MINUTE;
    while (Date.now() < deadline) {
      // Each time anew: lenses move lines.
      const place = await this.word(line, word);
      await this.page.mouse.move(place.x, place.y);
      // Before the server is there nothing answers, and nothing asks again by itself.
      const shows = hover.first().waitFor({ timeout: 3000 });
      const text = await shows.then(() => hover.allInnerTexts()).catch(() => []);
      if (wanted.test(text.join("\n"))) return text.join("\n");
      await this.away();
      await hover.first().waitFor({ state: "hidden" });
    }
    throw new Error(`No hover said ${wanted}`);
  }

  /** Take an action of the light bulb by its words. */
  async action(words) {
    await this.page.keyboard.press("Control+.");
    const row = this.page.locator(".action-widget .monaco-list-row", { hasText: words }).first();
    await row.waitFor();
    return row;
  }

  /** The text of the lines in sight, top to bottom. */
  async visible() {
    return this.page.$$eval(".editor-instance .view-line", (rows) =>
      rows
        .sort((a, b) => a.getBoundingClientRect().top - b.getBoundingClientRect().top)
        .map((row) => row.textContent.replaceAll("\u00a0", " "))
        .join("\n"),
    );
  }

  /** Wait until a line in sight is this text (or fits this expression), or none is; the line. */
  async waitForLine(wanted, there = true) {
    const text = wanted instanceof RegExp ? { source: wanted.source } : { line: wanted };
    const found = await this.page.waitForFunction(
      ([{ source, line }, there]) => {
        const rows = [...document.querySelectorAll(".editor-instance .view-line")];
        const texts = rows.map((row) => row.textContent.replaceAll("\u00a0", " "));
        const first = texts.find((one) => (source ? new RegExp(source).test(one) : one === line));
        return there ? first : first === undefined;
      },
      [text, there],
    );
    return found.jsonValue();
  }

  /** Wait until a person could read something. */
  async sees(selector, text) {
    const found = this.page.locator(selector, { hasText: text }).first();
    await found.waitFor();
    return found;
  }
}
