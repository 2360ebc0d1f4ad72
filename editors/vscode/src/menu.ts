/** What a click on the status bar offers. */

import * as vscode from "vscode";
import type { Session } from "./session";
import { shown } from "./words";

interface Item extends vscode.QuickPickItem {
  readonly command?: string;
  readonly argument?: unknown;
}

const WORK: readonly Item[] = [
  { label: "$(note) Document This Function", command: "codeprompt.documentFunction" },
  {
    label: "$(files) Write the Missing Documentation of This File",
    command: "codeprompt.documentMissing",
  },
  { label: "$(book) Summarize a Folder...", command: "codeprompt.summarizeFolder" },
  { label: "$(mortar-board) Tune on This Project...", command: "codeprompt.tuneProject" },
  { label: "$(package) Choose a Pack...", command: "codeprompt.pickPack" },
  { label: "$(info) Show Status", command: "codeprompt.openStatus" },
  { label: "$(stop-circle) Cancel What Runs", command: "codeprompt.cancelWork" },
];
const SETUP: readonly Item[] = [
  { label: "$(cloud-download) Set Up a Python Environment...", command: "codeprompt.setUp" },
  { label: "$(symbol-namespace) Choose a Python...", command: "codeprompt.choosePython" },
];
const ALWAYS: readonly Item[] = [
  { label: "$(debug-restart) Restart the Server", command: "codeprompt.restart" },
  { label: "$(output) Show the Log", command: "codeprompt.showLog" },
  {
    label: "$(gear) Settings",
    command: "workbench.action.openSettings",
    argument: "@ext:codeprompt.codeprompt",
  },
];

/** Ask, and do it. */
export async function menu(session: Session): Promise<void> {
  const running = session.state.kind === "running";
  const lines = shown(session.state, session.status)
    .tooltip.replace(/\*\*|`/g, "")
    .split("\n\n");
  const chosen = await vscode.window.showQuickPick<Item>(
    [
      ...(running ? WORK : SETUP),
      { label: "", kind: vscode.QuickPickItemKind.Separator },
      ...ALWAYS,
    ],
    { title: "codeprompt", placeHolder: (running ? lines.slice(0, 1) : lines).join(" ") },
  );
  if (chosen?.command) await vscode.commands.executeCommand(chosen.command, chosen.argument);
}
