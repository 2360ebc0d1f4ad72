// The first day without a server: the extension says so, and makes an environment when it is asked to.
//
//   node setup.mjs --cache DIR --folder DIR --vsix FILE [--browser FILE] [--pictures DIR]
//
// vsix: one that brings the server (`make vsix`). Downloads what pip wants, some hundred MB.

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { startBrowser, startServer } from "./codeserver.mjs";
import { Editor, QUIET } from "./editor.mjs";

const { values: given } = parseArgs({
  options: {
    cache: { type: "string" },
    folder: { type: "string" },
    vsix: { type: "string" },
    browser: { type: "string", default: "/usr/bin/chromium" },
    pictures: { type: "string" },
    "torch-index": { type: "string" },
  },
});
const index = given["torch-index"];
const settings = { ...QUIET, ...(index === undefined ? {} : { "codeprompt.setup.torchIndex": index }) };
const env = { CODEPROMPT_HOME: join(given.folder, "home"), CODEPROMPT_DATA: join(given.folder, "data") };

const server = await startServer({ ...given, env, settings, keybindings: [] });
const window = await startBrowser({ ...given, size: { width: 1120, height: 700 } });
const editor = new Editor(window.page, given.pictures);
try {
  await editor.open(server.address);
  await editor.file("graphlib.py");
  await editor.sees(".statusbar-item", "codeprompt: not set up");
  await editor.sees(".notification-list-item", "codeprompt finds no server");
  await editor.picture("missing");
  await editor.press(".notification-list-item", "Set Up...");
  const start = performance.now();
  const dialog = await editor.sees(".monaco-dialog-box", /codeprompt needs to download/);
  const told = (await dialog.innerText()).replace(/\s+/g, " ");
  assert.match(told, /download (more than )?\d+ [MG]B\..*\d+ packages; the largest: /);
  console.log(`Asked after ${((performance.now() - start) / 1000).toFixed(0)} s: ${told}`);
  await editor.picture("download");
  await editor.press(".monaco-dialog-box", "Download and Install");
  await editor.sees(".notification-list-item", /setting up: /);
  await editor.picture("setting-up");
  await editor.line(54, 9);
  const summary = await editor.hover("def _get_nodeinfo", "_get_nodeinfo", /Written by a model/, 15);
  console.log(`Answered ${((performance.now() - start) / 1000).toFixed(0)} s after: ${summary}`);
  await editor.picture("set-up");
} catch (error) {
  await editor.picture("failure");
  throw error;
} finally {
  await window.end();
  server.end();
}
process.exit(0);
