/** The language client: which documents go to the server, and how its answers are shown. */

import * as vscode from "vscode";
import {
  type ConfigurationParams,
  LanguageClient,
  LSPErrorCodes,
  type Middleware,
  ResponseError,
  RevealOutputChannelOn,
  TextDocumentContentRequest,
} from "vscode-languageclient/node";
import { show } from "./documents";
import { IDS } from "./languages";
import type { Found } from "./locate";
import type { Progresses } from "./progress";
import { environment } from "./python";
import { forServer, SECTION } from "./settings";

/** What a person asked for: a failure of these is told. */
const ASKED: ReadonlySet<string> = new Set(["workspace/executeCommand", "codeAction/resolve"]);

/** A client that was not started. cwd: where the server runs, apart from the folders. */
export function makeClient(
  found: Found,
  cwd: string,
  log: vscode.LogOutputChannel,
  progresses: Progresses,
): LanguageClient {
  const level = vscode.workspace.getConfiguration(SECTION).get("server.logLevel", "warning");
  const run = {
    command: found.command,
    args: [...found.args, "--log-level", level],
    options: { cwd, env: environment() },
  };
  return new LanguageClient("codeprompt", "codeprompt", run, {
    documentSelector: ["file", "untitled"].flatMap((scheme) =>
      IDS.map((language) => ({ scheme, language })),
    ),
    outputChannel: log,
    revealOutputChannelOn: RevealOutputChannelOn.Never,
    initializationOptions: () => forServer(vscode.workspace.getConfiguration().get(SECTION)),
    middleware: middleware(progresses),
  });
}

function middleware(progresses: Progresses): Middleware {
  return {
    workspace: {
      configuration: async (params: ConfigurationParams, token, next) => {
        const found = await next(params, token);
        if (!Array.isArray(found)) return found;
        return found.map((one, at) =>
          params.items[at]?.section === SECTION ? forServer(one) : one,
        );
      },
    },
    window: {
      showDocument: async (params, token, next) => {
        const uri = vscode.Uri.parse(params.uri);
        if (uri.scheme !== SECTION) return next(params, token);
        return { success: await show(uri, params.takeFocus ?? true) };
      },
    },
    handleWorkDoneProgress: (token, value, next) => {
      progresses.show(token, value);
      // The client's own part, which never begins, frees the token.
      if (value.kind === "end") next(token, value);
    },
    sendRequest: async (type, param, token, next) => {
      try {
        return await next(type, param, token);
      } catch (error) {
        if (!(error instanceof ResponseError)) throw error;
        return told(typeof type === "string" ? type : type.method, error, token);
      }
    },
  };
}

/** Tell a failure as it deserves; what has been told goes on as a cancellation, in silence. */
function told<R>(
  method: string,
  error: ResponseError<unknown>,
  token?: vscode.CancellationToken,
): R {
  if (method === TextDocumentContentRequest.method) return { text: error.message } as R;
  if (ASKED.has(method) && !token?.isCancellationRequested && !isCancelled(error)) {
    void tell(error.message);
    throw new ResponseError(LSPErrorCodes.RequestCancelled, error.message);
  }
  throw error;
}

async function tell(message: string): Promise<void> {
  // A message with a button is shown whole.
  const more = "Show the Log";
  const text = `codeprompt: ${message.replace(/\s*\n\s*/g, " ")}`;
  const pressed = await vscode.window.showErrorMessage(text, more);
  if (pressed) await vscode.commands.executeCommand("codeprompt.showLog");
}

/** Whether an error only says that a request was given up. */
export function isCancelled(error: unknown): boolean {
  if (error instanceof vscode.CancellationError) return true;
  return error instanceof ResponseError && error.code === LSPErrorCodes.RequestCancelled;
}
