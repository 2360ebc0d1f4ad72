/** One server for this window: found, started, watched, restarted. */

import { basename } from "node:path";
import * as vscode from "vscode";
import {
  ExecuteCommandRequest,
  type LanguageClient,
  State,
  WorkDoneProgressCancelNotification,
} from "vscode-languageclient/node";
import { isCancelled, makeClient } from "./client";
import { candidates, type Found, isFound, locate, type NotFound, unseen } from "./locate";
import { Progresses } from "./progress";
import { askVersion, places } from "./python";
import type { JobEnd, ServerStatus, Session as SessionState } from "./words";

export class Session implements vscode.Disposable {
  private client: LanguageClient | undefined;
  private queue: Promise<void> = Promise.resolve();
  private readonly changed = new vscode.EventEmitter<void>();
  private readonly ended = new vscode.EventEmitter<JobEnd>();
  /** Something that the status bar shows has changed. */
  readonly onChange = this.changed.event;
  /** A tuning job has ended. */
  readonly onJob = this.ended.event;
  private readonly progresses = new Progresses((token) => {
    void this.client?.sendNotification(WorkDoneProgressCancelNotification.type, { token });
  });
  state: SessionState = { kind: "looking" };
  status: ServerStatus | undefined;

  constructor(
    private readonly context: vscode.ExtensionContext,
    private readonly log: vscode.LogOutputChannel,
  ) {}

  /** The folder of this extension's own files; servers run in it. */
  get storage(): string {
    return this.context.globalStorageUri.fsPath;
  }

  /** Find the server and start it; one that runs is stopped first. */
  restart(): Promise<void> {
    this.queue = this.queue.then(() => this.startAgain());
    return this.queue;
  }

  /** Stop the server; the engine stays for others. */
  stop(): Promise<void> {
    this.queue = this.queue.then(() => this.end());
    return this.queue;
  }

  /** Have the server execute a command; undefined where it failed, which was told. */
  async execute<R>(command: string, argument: object = {}): Promise<R | undefined> {
    await this.queue;
    if (!this.client?.isRunning()) {
      void vscode.window.showWarningMessage("codeprompt: no server runs; see the status bar.");
      return undefined;
    }
    try {
      const params = { command, arguments: [argument] };
      return (await this.client.sendRequest(ExecuteCommandRequest.type, params)) as R;
    } catch (error) {
      if (!isCancelled(error)) this.log.error(`${command}: ${String(error)}`);
      return undefined;
    }
  }

  dispose(): void {
    void this.stop();
    this.changed.dispose();
    this.ended.dispose();
  }

  private async startAgain(): Promise<void> {
    await this.end();
    try {
      this.become({ kind: "looking" });
      await vscode.workspace.fs.createDirectory(this.context.globalStorageUri);
      const where = await places(this.context);
      const found = await locate(candidates(where), (one) => askVersion(one, this.storage));
      if (isFound(found)) await this.begin(found);
      else {
        const hidden = unseen(where);
        const why = [...reasons(found), ...hidden.map(distrusted)];
        for (const line of why) this.log.warn(line);
        this.become({ kind: "missing", why, offer: !hidden.length });
      }
    } catch (error) {
      this.log.error(error instanceof Error ? error : String(error));
      this.become({ kind: "stopped", why: error instanceof Error ? error.message : String(error) });
    }
  }

  private async begin(found: Found): Promise<void> {
    const { from, version } = found;
    this.log.info(`Server ${version} from ${from}: ${found.command}`);
    this.become({ kind: "starting", from, version });
    const client = makeClient(found, this.storage, this.log, this.progresses);
    this.client = client;
    client.onDidChangeState(({ newState }) => {
      if (this.client !== client) return;
      if (newState === State.Running) this.become({ kind: "running", from, version });
      if (newState === State.Starting) this.become({ kind: "starting", from, version });
      if (newState === State.Stopped) {
        this.progresses.clear();
        this.become({ kind: "stopped", why: "The log says why; Restart tries again." });
      }
    });
    client.onNotification("codeprompt/status", (status: ServerStatus) => {
      this.status = status;
      this.changed.fire();
    });
    client.onNotification("codeprompt/job", (job: JobEnd) => this.ended.fire(job));
    await client.start();
  }

  private async end(): Promise<void> {
    const client = this.client;
    this.client = undefined;
    this.status = undefined;
    this.progresses.clear();
    if (!client) return;
    try {
      await client.dispose(3000);
    } catch (error) {
      this.log.warn(`The server did not end by itself: ${String(error)}`);
    }
  }

  private become(state: SessionState): void {
    this.state = state;
    if (state.kind !== "running") this.status = undefined;
    void vscode.commands.executeCommand("setContext", "codeprompt.state", state.kind);
    this.changed.fire();
  }
}

function distrusted(folder: string): string {
  return `The .venv of ${basename(folder)} was not looked at: the folder is not trusted.`;
}

/** What was tried, a line each. */
function reasons({ tried }: NotFound): string[] {
  if (!tried.length) return ["No codeprompt-lsp is on the PATH, and no environment has it."];
  return tried.map(({ candidate, reason }) => `Tried ${candidate.from}: ${reason}.`);
}
