/** What commands ask a person. */

import * as vscode from "vscode";

/** The editor in front. Tells where there is none. */
export function editorInFront(): vscode.TextEditor | undefined {
  const editor = vscode.window.activeTextEditor;
  if (!editor) void vscode.window.showWarningMessage("codeprompt: open a source file first.");
  return editor;
}

/** The place of the cursor, as commands of the server take it. */
export function cursor(): { uri: string; position: vscode.Position } | undefined {
  const editor = editorInFront();
  if (!editor) return undefined;
  return { uri: editor.document.uri.toString(), position: editor.selection.active };
}

/** An open folder: the only one, else the one that is picked. Tells where there is none. */
export async function folder(title: string): Promise<vscode.Uri | undefined> {
  const all = vscode.workspace.workspaceFolders ?? [];
  if (all.length <= 1) {
    if (!all.length) void vscode.window.showWarningMessage("codeprompt: open a folder first.");
    return all[0]?.uri;
  }
  return (await vscode.window.showWorkspaceFolderPick({ placeHolder: title }))?.uri;
}

/** A whole number of at least 1. */
export async function count(title: string, usual: number): Promise<number | undefined> {
  const typed = await vscode.window.showInputBox({
    title,
    value: String(usual),
    validateInput: (text) => (/^\s*[1-9]\d{0,6}\s*$/.test(text) ? "" : "A whole number from 1 on"),
  });
  return typed === undefined ? undefined : Number(typed);
}
