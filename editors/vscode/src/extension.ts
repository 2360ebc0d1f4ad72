/** The extension's beginning and end. */

import * as vscode from "vscode";
import { actions } from "./commands";
import { StatusPage } from "./documents";
import { menu } from "./menu";
import { onInterpreter } from "./python";
import { Session } from "./session";
import { LOCATING, SECTION } from "./settings";
import { offer, setUp } from "./setup";
import { statusBar } from "./status";
import type { JobEnd } from "./words";

let session: Session | undefined;

/** Called by VS Code with the first document of a language of ours, or the first command. */
export function activate(context: vscode.ExtensionContext): void {
  const log = vscode.window.createOutputChannel("codeprompt", { log: true });
  const page = new StatusPage();
  const mine = new Session(context, log);
  session = mine;
  const commands: Record<string, (given?: unknown) => Promise<unknown>> = {
    ...actions(mine, page),
    menu: () => menu(mine),
    restart: () => mine.restart(),
    setUp: () => setUp(context, mine),
    choosePython,
    showLog: async () => log.show(),
  };
  context.subscriptions.push(
    log,
    page,
    mine,
    statusBar(mine),
    mine.onJob(tellJob),
    ...Object.entries(commands).map(([name, action]) =>
      vscode.commands.registerCommand(`${SECTION}.${name}`, action),
    ),
    vscode.workspace.onDidGrantWorkspaceTrust(() => again(mine)),
    vscode.workspace.onDidChangeConfiguration((event) => {
      if (LOCATING.some((name) => event.affectsConfiguration(name))) void mine.restart();
    }),
  );
  void begin(context, mine);
}

/** Called by VS Code when the window closes. */
export async function deactivate(): Promise<void> {
  await session?.stop();
}

async function begin(context: vscode.ExtensionContext, mine: Session): Promise<void> {
  await mine.restart();
  context.subscriptions.push(await onInterpreter(() => again(mine)));
  if (mine.state.kind === "missing" && mine.state.offer) await offer(context);
}

/** Another place for the server may have come: one that runs stays. */
function again(mine: Session): void {
  if (mine.state.kind === "missing") void mine.restart();
}

/** Tell how a job ended; a cancelled one was cancelled by somebody who knows. */
async function tellJob({ status, message }: JobEnd): Promise<void> {
  if (status === "cancelled") return;
  const text = `codeprompt: ${message}`;
  // A message with a button is shown whole.
  const more = "Show Status";
  const pressed =
    status === "done"
      ? await vscode.window.showInformationMessage(text, more)
      : await vscode.window.showErrorMessage(text, more);
  if (pressed) await vscode.commands.executeCommand("codeprompt.openStatus");
}

async function choosePython(): Promise<void> {
  const files = await vscode.window.showOpenDialog({
    title: "A Python that has codeprompt installed",
    openLabel: "Use This Python",
  });
  const file = files?.[0]?.fsPath;
  if (!file) return;
  const settings = vscode.workspace.getConfiguration(SECTION);
  await settings.update("python", file, vscode.ConfigurationTarget.Global);
}
