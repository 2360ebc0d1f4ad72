/** A Python environment of our own: made only when asked for, after its size has been told. */

import { randomBytes } from "node:crypto";
import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import * as path from "node:path";
import { pathToFileURL } from "node:url";
import * as vscode from "vscode";
import { MODULE_ARGUMENTS, pythonIn } from "./locate";
import {
  contentLength,
  Progress,
  packagesOf,
  pinned,
  plan,
  type Sized,
  sized,
  sizeOf,
} from "./pip";
import { type Ended, reasonOf, run } from "./process";
import { askVersion, basePython, ENVIRONMENT } from "./python";
import type { Session } from "./session";
import { SECTION } from "./settings";

/** A step that failed, told as it is. */
class SetupError extends Error {}
/** A person changed their mind. */
class Cancelled extends Error {}

/** Make the environment and start the server in it. Tells how it went. */
export async function setUp(context: vscode.ExtensionContext, session: Session): Promise<void> {
  await vscode.workspace.fs.createDirectory(context.globalStorageUri);
  const folder = path.join(session.storage, `environment-${randomBytes(4).toString("hex")}`);
  try {
    await new Setup(context, folder).make();
    await adopt(context, session, folder);
    await session.restart();
  } catch (error) {
    await rm(folder, { recursive: true, force: true, maxRetries: 3 });
    if (error instanceof Cancelled) return;
    const why = error instanceof Error ? error.message : String(error);
    void vscode.window.showErrorMessage(`codeprompt was not set up: ${why}`);
  }
}

class Setup {
  private readonly python: string;
  private readonly storage: string;

  constructor(
    private readonly context: vscode.ExtensionContext,
    private readonly folder: string,
  ) {
    this.storage = path.dirname(folder);
    this.python = pythonIn(folder, process.platform === "win32");
  }

  async make(): Promise<void> {
    const wheel = await this.wheel();
    const packages = await withProgress("codeprompt: what is to be downloaded?", (signal) =>
      this.resolve(wheel, signal),
    );
    const { total, detail } = plan(packages);
    const yes = "Download and Install";
    const pressed = await vscode.window.showInformationMessage(
      `codeprompt needs to download ${total}.`,
      {
        modal: true,
        detail: `${detail}\n\nIt is installed into ${this.folder}, and nothing else is changed.`,
      },
      yes,
    );
    if (pressed !== yes) throw new Cancelled();
    await withProgress("codeprompt: setting up", (signal, report) =>
      this.install(wheel, packages, signal, report),
    );
  }

  /** What to install: the setting's, else the wheel that comes with this extension. */
  private async wheel(): Promise<string> {
    const set = setting("setup.package").trim();
    if (set) return set;
    const folder = path.join(this.context.extensionPath, "server");
    const files = await readdir(folder).catch((): string[] => []);
    const wheel = files.find((name) => name.endsWith(".whl"));
    if (wheel) return path.join(folder, wheel);
    throw new SetupError(
      "this build of the extension brings no server. Name a wheel, a folder or a package in the " +
        "setting codeprompt.setup.package, or an environment that has codeprompt in " +
        "codeprompt.python.",
    );
  }

  /** An empty environment, and the packages that pip would put into it. */
  private async resolve(wheel: string, signal: AbortSignal): Promise<Sized[]> {
    const base = await basePython(this.storage);
    if (!base) {
      throw new SetupError("it needs Python 3.11, 3.12 or 3.13 with venv, and found none.");
    }
    good(await run(base, ["-I", "-m", "venv", this.folder], { cwd: this.storage, signal }), signal);
    const file = path.join(this.folder, "plan.json");
    const args = ["--dry-run", "--quiet", "--report", file];
    await this.pip([...args, ...(await this.wanted(wheel))], signal);
    const packages = packagesOf(JSON.parse(await readFile(file, "utf8")));
    return sized(packages, (url) => sizeOf(url, (one) => contentLength(one, signal)));
  }

  private async install(
    wheel: string,
    packages: readonly Sized[],
    signal: AbortSignal,
    report: Report,
  ): Promise<void> {
    const pins = path.join(this.folder, "constraints.txt");
    await writeFile(pins, pinned(packages, pathToFileURL(wheel).href));
    const progress = new Progress(packages);
    const args = ["--progress-bar", "off", ...(await this.wanted(wheel, pins))];
    await this.pip(args, signal, (line) => {
      const step = progress.line(line);
      if (step) report(step);
    });
    const server = { from: "", command: this.python, args: MODULE_ARGUMENTS };
    const asked = await askVersion(server, this.storage);
    if (asked.code !== 0) throw new SetupError(`the server does not run: ${reasonOf(asked)}`);
  }

  /** pip's arguments for what we want. */
  private async wanted(wheel: string, pins = ""): Promise<string[]> {
    const bundled = path.join(this.context.extensionPath, "server", "constraints.txt");
    const there = await readFile(bundled).then(
      () => true,
      () => false,
    );
    const index = process.platform === "linux" ? setting("setup.torchIndex").trim() : "";
    const more = vscode.workspace.getConfiguration(SECTION).get<string[]>("setup.pipArguments", []);
    const constraints = pins || (there ? bundled : "");
    return [
      ...(constraints ? ["--constraint", constraints] : []),
      ...(index ? ["--extra-index-url", index] : []),
      ...more,
      wheel,
    ];
  }

  private async pip(
    args: readonly string[],
    signal: AbortSignal,
    onLine?: (line: string) => void,
  ): Promise<void> {
    const env = { ...process.env, PIP_DISABLE_PIP_VERSION_CHECK: "1", PIP_NO_INPUT: "1" };
    const options = { cwd: this.storage, env, signal, ...(onLine ? { onLine } : {}) };
    good(await run(this.python, ["-I", "-m", "pip", "install", ...args], options), signal);
  }
}

type Report = (step: { message: string; increment: number }) => void;

/** Work with a notification that can be cancelled. */
async function withProgress<R>(
  title: string,
  work: (signal: AbortSignal, report: Report) => Promise<R>,
): Promise<R> {
  const options = { location: vscode.ProgressLocation.Notification, title, cancellable: true };
  return vscode.window.withProgress(options, async (progress, token) => {
    const aborter = new AbortController();
    const listening = token.onCancellationRequested(() => aborter.abort());
    try {
      return await work(aborter.signal, (step) => progress.report(step));
    } finally {
      listening.dispose();
    }
  });
}

function good(ended: Ended, signal: AbortSignal): void {
  if (signal.aborted) throw new Cancelled();
  if (ended.code !== 0) throw new SetupError(reasonOf(ended));
}

function setting(name: string): string {
  return vscode.workspace.getConfiguration(SECTION).get(name, "");
}

/** Use an environment from now on; the one before goes, and settings that name another may go. */
async function adopt(
  context: vscode.ExtensionContext,
  session: Session,
  folder: string,
): Promise<void> {
  const before = context.globalState.get(ENVIRONMENT, "");
  await context.globalState.update(ENVIRONMENT, folder);
  await session.stop();
  if (before && path.dirname(before) === session.storage) {
    await rm(before, { recursive: true, force: true }).catch(() => undefined);
  }
  const named = ["server.path", "python"].filter((name) => setting(name).trim());
  if (!named.length) return;
  const yes = "Clear It";
  const names = named.map((name) => `${SECTION}.${name}`).join(", ");
  const pressed = await vscode.window.showWarningMessage(
    `The new environment is not used while ${names} names another.`,
    yes,
  );
  if (pressed !== yes) return;
  for (const name of named) {
    const settings = vscode.workspace.getConfiguration(SECTION);
    await settings.update(name, undefined, vscode.ConfigurationTarget.Global);
  }
}

/** Once in a window: there is no server; what to do. */
export async function offer(context: vscode.ExtensionContext): Promise<void> {
  if (context.globalState.get("silent", false)) return;
  const choices = ["Set Up...", "Choose a Python...", "Do Not Ask Again"] as const;
  const pressed = await vscode.window.showInformationMessage(
    "codeprompt finds no server on this machine. It can make a Python environment of its own; it " +
      "says how large the download is before it starts.",
    ...choices,
  );
  if (pressed === choices[0]) await vscode.commands.executeCommand("codeprompt.setUp");
  if (pressed === choices[1]) await vscode.commands.executeCommand("codeprompt.choosePython");
  if (pressed === choices[2]) await context.globalState.update("silent", true);
}
