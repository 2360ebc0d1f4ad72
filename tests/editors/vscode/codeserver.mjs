// A real VS Code in a browser: code-server with our extension, and a Chromium that opens it.

import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";

/** Start code-server on a free port. cache: where it and playwright-core are installed.
 * Gives its address, and how to end it. */
export async function startServer({ cache, folder, vsix, env, settings, keybindings }) {
  const entry = join(cache, "node_modules", "code-server", "out", "node", "entry.js");
  const user = join(folder, "user", "User");
  mkdirSync(user, { recursive: true });
  writeFileSync(join(user, "settings.json"), JSON.stringify(settings, null, 2));
  writeFileSync(join(user, "keybindings.json"), JSON.stringify(keybindings, null, 2));
  const config = join(folder, "code-server.yaml");
  writeFileSync(config, "auth: none\ncert: false\n");
  const places = ["--config", config, "--user-data-dir", join(folder, "user"),
    "--extensions-dir", join(folder, "extensions")];
  const options = { env: { ...process.env, ...env }, encoding: "utf8" };
  const installed = spawnSync(process.execPath, [entry, ...places, "--install-extension", vsix], options);
  if (installed.status !== 0) throw new Error(installed.stderr || installed.stdout);
  const child = spawn(process.execPath,
    [entry, ...places, "--bind-addr", "127.0.0.1:0", "--disable-telemetry", "--disable-update-check",
      "--disable-getting-started-override", join(folder, "project")],
    { ...options, stdio: ["ignore", "pipe", "inherit"], detached: true });
  const address = await new Promise((resolve, reject) => {
    child.once("exit", (code) => reject(new Error(`code-server ended with ${code}`)));
    createInterface({ input: child.stdout }).on("line", (line) => {
      const found = /listening on (http:\S+)/.exec(line);
      if (found) resolve(found[1]);
    });
  });
  return { address, end: () => process.kill(-child.pid) };
}

/** A page of a headless Chromium. */
export async function startBrowser({ cache, browser, size }) {
  const require = createRequire(join(cache, "node_modules", "playwright-core", "package.json"));
  const { chromium } = require("playwright-core");
  const running = await chromium.launch({ executablePath: browser, args: ["--no-sandbox"] });
  const page = await running.newPage({ viewport: size });
  return { page, end: () => running.close() };
}
