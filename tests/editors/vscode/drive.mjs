// A day with the extension in a real VS Code: hover, documentation, warnings, tuning, reports.
//
//   node drive.mjs --cache DIR --folder DIR --vsix FILE --python FILE [--browser FILE]
//       [--pictures DIR] [--shots N] [--steps N]
//
// cache: where code-server and playwright-core are. folder: as `world.py` made it. pictures: where
// they are written. shots, steps: of the tuning job.
// Prints what was seen and how long it took; ends with 1 where something was not as it should be.

import assert from "node:assert/strict";
import { readFileSync, symlinkSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { startBrowser, startServer } from "./codeserver.mjs";
import { Editor, QUIET } from "./editor.mjs";

const { values: given } = parseArgs({
  options: {
    cache: { type: "string" },
    folder: { type: "string" },
    vsix: { type: "string" },
    python: { type: "string" },
    browser: { type: "string", default: "/usr/bin/chromium" },
    pictures: { type: "string" },
    shots: { type: "string", default: "8" },
    steps: { type: "string", default: "4" },
  },
});
const project = join(given.folder, "project");
const settings = {
  ...QUIET,
  ...JSON.parse(readFileSync(join(given.folder, "settings.json"), "utf8")),
  "codeprompt.diagnostics.mode": "on",
};
const keybindings = [
  {
    key: "ctrl+alt+t",
    command: "codeprompt.tuneProject",
    args: { shots: Number(given.shots), steps: Number(given.steps) },
  },
];
const BY_MODEL = /Written by a model: summarize@(\w+), confidence \d+%/;

async function main() {
  // The extension finds the server in the folder's .venv, as it would for a person who has one.
  symlinkSync(dirname(dirname(given.python)), join(project, ".venv"));
  const env = {
    CODEPROMPT_HOME: join(given.folder, "home"),
    CODEPROMPT_DATA: join(given.folder, "data"),
  };
  const server = await startServer({ ...given, env, settings, keybindings });
  const window = await startBrowser({ ...given, size: { width: 1120, height: 700 } });
  const editor = new Editor(window.page, given.pictures);
  try {
    await editor.open(server.address);
    for (const step of STEPS) {
      const start = performance.now();
      const told = await step(editor);
      console.log(`${step.name}: ${((performance.now() - start) / 1000).toFixed(1)} s. ${told}`);
    }
  } catch (error) {
    await editor.picture("failure");
    throw error;
  } finally {
    await window.end();
    server.end();
  }
}

let versionBefore = "";
let warned = "";

async function restrictedMode(editor) {
  await editor.file("graphlib.py");
  const item = await editor.sees(".statusbar-item", "codeprompt: not set up");
  await item.hover();
  await editor.sees(".monaco-hover", "was not looked at: the folder is not trusted");
  await editor.picture("restricted-dark");
  return "The folder's .venv is not run before the folder is trusted.";
}

async function firstHover(editor) {
  await editor.trust();
  const start = performance.now();
  await editor.file("graphlib.py");
  await editor.line(54, 9);
  const told = await editor.hover("def _get_nodeinfo", "_get_nodeinfo", BY_MODEL);
  versionBefore = BY_MODEL.exec(told)[1];
  const seconds = (performance.now() - start) / 1000;
  await editor.picture("hover-dark");
  return `First summary ${seconds.toFixed(1)} s after the folder was trusted, the engine's start included: ${said(told)}`;
}

async function nextHover(editor) {
  await editor.away();
  const start = performance.now();
  const told = await editor.hover("def add", "add", BY_MODEL);
  return `${(performance.now() - start).toFixed(0)} ms, VS Code's own delay of 300 ms included: ${said(told)}`;
}

async function documentation(editor) {
  await editor.line(54, 9);
  const before = await editor.visible();
  const row = await editor.action("Write the documentation of _get_nodeinfo");
  await editor.picture("action-dark");
  await row.click();
  const line = await editor.waitForLine(/^ {8}"""[A-Z].*"""$/);
  assert.ok(!before.includes(line));
  await editor.away();
  await editor.picture("docstring-dark");
  await editor.page.keyboard.press("Control+Z");
  await editor.waitForLine(line, false);
  await editor.page.keyboard.press("Control+Y");
  await editor.waitForLine(line);
  return `${line.trim()} One undo took it back.`;
}

async function warning(editor) {
  await editor.file("heapq.py");
  await editor.command("Problems: Focus on Problems View");
  const row = editor.page
    .locator('.markers-panel .monaco-list-row[aria-level="2"]', { hasText: "may have a defect" })
    .last();
  await row.waitFor();
  const text = await row.innerText();
  assert.match(text, /probability \d+%.*\[defect@\w+\]/s);
  warned = /(\w+) may have/.exec(text)[1];
  await row.click();
  await editor.page.waitForSelector(".squiggly-info");
  await editor.away();
  await editor.picture("warning-dark");
  return text.replace(/\s+/g, " ");
}

async function explanation(editor) {
  await editor.command("View: Toggle Panel Visibility");
  await editor.page.keyboard.press("Control+1");
  const row = await editor.action("Explain the warning about");
  await row.click();
  const page = await webview(editor);
  await page.locator("text=How far the probability falls").waitFor();
  await editor.picture("explain-dark");
  return (await page.locator("p").first().innerText()).replace(/\s+/g, " ");
}

async function preview(editor) {
  await editor.command("codeprompt: Write the Missing Documentation of a Folder");
  await editor.sees(".composite.panel", "Refactor Preview");
  const rows = editor.page.locator(".bulk-edit-panel .monaco-list-row");
  await rows.nth(4).waitFor();
  await editor.page.locator(".notification-toast", { hasText: "Write doc" }).waitFor({ state: "hidden" });
  await editor.picture("preview-dark");
  const count = await rows.count();
  await editor.press(".bulk-edit-panel", "Discard");
  await editor.page.locator(".bulk-edit-panel .monaco-list-row").first().waitFor({ state: "hidden" });
  assert.equal(await editor.page.locator(".notification-list-item .codicon-error").count(), 0);
  return `${count} rows in sight; discarding them is no error.`;
}

async function tuning(editor) {
  await editor.file("graphlib.py");
  await editor.page.keyboard.press("Control+Alt+T");
  await editor.sees(".notification-list-item", /Tune on project.*step \d+\/\d+, loss/s);
  await editor.picture("tune-dark");
  const done = await editor.sees(".notification-list-item", /is tuned and answers now/);
  const told = (await done.innerText()).split("\n").find((line) => line.includes("tuned"));
  await editor.picture("tuned-dark");
  await editor.command("Notifications: Clear All Notifications");
  return told;
}

async function newPackAnswers(editor) {
  await editor.line(54, 9);
  const told = await editor.hover("def _get_nodeinfo", "_get_nodeinfo", BY_MODEL);
  assert.notEqual(BY_MODEL.exec(told)[1], versionBefore);
  return said(told);
}

async function report(editor) {
  await editor.command("codeprompt: Summarize a Folder");
  const page = await webview(editor);
  await page.locator("text=Complete.").waitFor();
  await editor.picture("report-dark");
  return (await page.locator("p").first().innerText()).replace(/\s+/g, " ");
}

async function statusPage(editor) {
  await editor.command("codeprompt: Show Status");
  await editor.sees(".tab.active", "status.md");
  const page = await webview(editor);
  await page.locator("text=Packs that answer").waitFor();
  await editor.picture("status-dark");
  return (await page.locator("td").allInnerTexts()).slice(0, 4).join(" ");
}

async function lightPictures(editor) {
  await editor.command("Preferences: Toggle between Light/Dark Themes");
  await editor.page.waitForSelector(".monaco-workbench.vs");
  await editor.file("heapq.py");
  await editor.command("Problems: Focus on Problems View");
  await editor.page
    .locator('.markers-panel .monaco-list-row[aria-level="2"]', { hasText: "may have a defect" })
    .last()
    .click();
  await editor.picture("warning-light");
  await editor.command("View: Toggle Panel Visibility");
  await editor.hover(`def ${warned}`, warned, BY_MODEL);
  await editor.picture("hover-light");
  await editor.command("codeprompt: Show Status");
  const page = await webview(editor);
  await page.locator("text=Packs that answer").waitFor();
  await editor.picture("status-light");
  await editor.file("graphlib.py");
  return "The same in a light theme.";
}

async function openedAgain(editor) {
  const start = performance.now();
  await editor.page.reload();
  await editor.file("graphlib.py");
  await editor.line(54, 9);
  await editor.hover("def _get_nodeinfo", "_get_nodeinfo", BY_MODEL);
  const seconds = (performance.now() - start) / 1000;
  return `A summary ${seconds.toFixed(1)} s after the window was opened again, the engine running.`;
}

/** The summary of a hover, which may hold a warning, too. */
function said(hover) {
  const lines = hover.split("\n").map((line) => line.trim()).filter(Boolean);
  const at = lines.findIndex((line) => BY_MODEL.test(line));
  return `${lines[at - 1]} (${lines[at]})`;
}

/** The newest page (a preview of Markdown) that is in sight. */
async function webview(editor) {
  const outer = editor.page.frameLocator("iframe.webview.ready >> visible=true").first();
  return outer.frameLocator("iframe#active-frame");
}

const STEPS = [
  restrictedMode, firstHover, nextHover, documentation, warning, explanation, report, preview, tuning,
  newPackAnswers, statusPage, lightPictures, openedAgain,
];
await main();
process.exit(0);
