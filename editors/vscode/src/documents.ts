/** Documents of our own: the server's (`codeprompt:/...`, whose texts the client fetches), and the
 * status as a page. */

import * as vscode from "vscode";

const STATUS_SCHEME = "codeprompt-status";
const STATUS = vscode.Uri.parse(`${STATUS_SCHEME}:/status.md`);

/** Show one: reports and explanations as pages, code beside the code. Whether it could be shown. */
export async function show(uri: vscode.Uri, focus: boolean): Promise<boolean> {
  try {
    if (uri.path.endsWith(".md")) {
      await vscode.commands.executeCommand("markdown.showPreview", uri);
    } else {
      await vscode.window.showTextDocument(uri, {
        preview: false,
        preserveFocus: !focus,
        viewColumn: vscode.ViewColumn.Beside,
      });
    }
    return true;
  } catch {
    return false;
  }
}

/** The page that tells how things stand. */
export class StatusPage implements vscode.TextDocumentContentProvider, vscode.Disposable {
  private readonly changed = new vscode.EventEmitter<vscode.Uri>();
  private readonly registered = vscode.workspace.registerTextDocumentContentProvider(
    STATUS_SCHEME,
    this,
  );
  private text = "";
  readonly onDidChange = this.changed.event;

  provideTextDocumentContent(): string {
    return this.text;
  }

  /** Show a text. */
  async open(text: string): Promise<void> {
    this.text = text;
    this.changed.fire(STATUS);
    await show(STATUS, true);
  }

  dispose(): void {
    this.registered.dispose();
    this.changed.dispose();
  }
}
