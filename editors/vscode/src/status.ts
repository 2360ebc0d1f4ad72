/** The status bar item. */

import * as vscode from "vscode";
import { IDS } from "./languages";
import type { Session } from "./session";
import { shown, skippedReason } from "./words";

const COLOURS = {
  "": undefined,
  warning: new vscode.ThemeColor("statusBarItem.warningBackground"),
  error: new vscode.ThemeColor("statusBarItem.errorBackground"),
};

/** Shows how the session stands, and why the file in front is left alone. */
export function statusBar(session: Session): vscode.Disposable {
  const item = vscode.window.createStatusBarItem("status", vscode.StatusBarAlignment.Right, 90);
  item.name = "codeprompt";
  item.command = "codeprompt.menu";
  const renew = () => {
    const document = vscode.window.activeTextEditor?.document;
    const ours = document && IDS.includes(document.languageId);
    const skipped = ours ? skippedReason(session.status, document.uri.toString()) : "";
    const now = shown(session.state, session.status, skipped);
    item.text = now.text;
    item.tooltip = new vscode.MarkdownString(now.tooltip);
    item.backgroundColor = COLOURS[now.colour];
  };
  renew();
  item.show();
  return vscode.Disposable.from(
    item,
    session.onChange(renew),
    vscode.window.onDidChangeActiveTextEditor(renew),
  );
}
