/** Pythons of this machine: the server in one of them, and one to make an environment with. */

import { PythonExtension } from "@vscode/python-extension";
import * as vscode from "vscode";
import { type Candidate, onPath, type Places } from "./locate";
import { type Ended, run } from "./process";
import { SECTION } from "./settings";

/** Under which the folder of the environment that we made is kept. */
export const ENVIRONMENT = "environment";
const ASK_MS = 30_000;
const WINDOWS = process.platform === "win32";
/** Newest first; `requires-python` of codeprompt. */
const MINORS = [13, 12, 11];

/** Where the server may be. */
export async function places(context: vscode.ExtensionContext): Promise<Places> {
  const settings = vscode.workspace.getConfiguration(SECTION);
  return {
    serverPath: settings.get("server.path", "").trim(),
    python: settings.get("python", "").trim(),
    ...search(),
    interpreter: await interpreter(),
    environment: context.globalState.get(ENVIRONMENT, ""),
  };
}

function folders(): string[] {
  const all = vscode.workspace.workspaceFolders ?? [];
  return all.filter(({ uri }) => uri.scheme === "file").map(({ uri }) => uri.fsPath);
}

/** The Python extension's interpreter for the first folder; "" without that extension. */
export async function interpreter(): Promise<string> {
  try {
    const api = await PythonExtension.api();
    const folder = vscode.workspace.workspaceFolders?.[0];
    const active = api.environments.getActiveEnvironmentPath(folder?.uri);
    const found = await api.environments.resolveEnvironment(active);
    return found?.executable.uri?.fsPath ?? "";
  } catch {
    return "";
  }
}

/** Call back when the Python extension's interpreter changes. */
export async function onInterpreter(changed: () => void): Promise<vscode.Disposable> {
  try {
    const api = await PythonExtension.api();
    return api.environments.onDidChangeActiveEnvironmentPath(changed);
  } catch {
    return new vscode.Disposable(() => undefined);
  }
}

/** The environment that a server runs in: nothing is imported from the folders that are open. */
export function environment(): NodeJS.ProcessEnv {
  return { ...process.env, PYTHONSAFEPATH: "1", PYTHONIOENCODING: "utf-8" };
}

/** Ask a candidate for its version. */
export function askVersion(candidate: Candidate, cwd: string): Promise<Ended> {
  const args = [...candidate.args, "--version"];
  return run(candidate.command, args, { cwd, env: environment(), timeout: ASK_MS });
}

/** A Python that environments can be made with: 3.11 to 3.13, with venv and pip. */
export async function basePython(cwd: string): Promise<string> {
  const known = await interpreter();
  const where = search();
  const names = [...MINORS.map((minor) => `python3.${minor}`), "python3", "python"];
  const files = [known, ...names.map((name) => onPath(name, where))].filter(Boolean);
  const ways: [string, string[]][] = files.map((file) => [file, []]);
  if (WINDOWS) ways.push(...MINORS.map((minor): [string, string[]] => ["py", [`-3.${minor}`]]));
  const code =
    "import sys, venv, ensurepip; ok = (3, 11) <= sys.version_info < (3, 14); " +
    "print(sys.executable if ok else '')";
  for (const [command, args] of ways) {
    const ended = await run(command, [...args, "-I", "-c", code], { cwd, timeout: ASK_MS });
    if (ended.code === 0 && ended.out.trim()) return ended.out.trim();
  }
  return "";
}

function search(): Pick<Places, "searchPath" | "windows" | "folders" | "trusted"> {
  return {
    searchPath: process.env.PATH ?? "",
    windows: WINDOWS,
    folders: folders(),
    trusted: vscode.workspace.isTrusted,
  };
}
