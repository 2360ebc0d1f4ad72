/** Work that a person asked for, as a notification that can be cancelled: the client's own way, in
 * the status bar, shows neither a share nor a button. */

import * as vscode from "vscode";
import type {
  ProgressToken,
  WorkDoneProgressBegin,
  WorkDoneProgressEnd,
  WorkDoneProgressReport,
} from "vscode-languageclient/node";

type Value = WorkDoneProgressBegin | WorkDoneProgressReport | WorkDoneProgressEnd;

interface Shown {
  readonly report: (value: WorkDoneProgressReport) => void;
  readonly end: () => void;
}

/** The works under way, by token. cancel: tells the server. */
export class Progresses {
  private readonly shown = new Map<ProgressToken, Shown>();

  constructor(private readonly cancel: (token: ProgressToken) => void) {}

  /** Show a step. */
  show(token: ProgressToken, value: Value): void {
    if (value.kind === "begin") this.shown.set(token, this.begin(token, value));
    if (value.kind === "report") this.shown.get(token)?.report(value);
    if (value.kind === "end") this.end(token);
  }

  /** The server has gone, and what it did. */
  clear(): void {
    for (const token of [...this.shown.keys()]) this.end(token);
  }

  private end(token: ProgressToken): void {
    this.shown.get(token)?.end();
    this.shown.delete(token);
  }

  private begin(token: ProgressToken, value: WorkDoneProgressBegin): Shown {
    let end = () => {};
    const ended = new Promise<void>((resolve) => {
      end = resolve;
    });
    let tell: ((value: WorkDoneProgressReport) => void) | undefined;
    let percent = 0;
    const options = {
      location: vscode.ProgressLocation.Notification,
      title: value.title,
      cancellable: value.cancellable ?? false,
    };
    void vscode.window.withProgress(options, (progress, cancellation) => {
      cancellation.onCancellationRequested(() => this.cancel(token));
      tell = ({ message, percentage }) => {
        const now = Math.max(percent, percentage ?? percent);
        progress.report({ ...(message ? { message } : {}), increment: now - percent });
        percent = now;
      };
      tell({ kind: "report", ...(value.message ? { message: value.message } : {}) });
      return ended;
    });
    return { report: (report) => tell?.(report), end };
  }
}
