/** Which server to run: the places it may be in, in order, and the first that answers. */

import { accessSync, constants, statSync } from "node:fs";
import * as path from "node:path";
import { type Ended, reasonOf } from "./process";

export const MODULE = "lsp_server";
export const SCRIPT = "codeprompt-lsp";
/** `-P`: nothing is imported from the working directory. Python 3.11 and later know it. */
export const MODULE_ARGUMENTS = ["-P", "-m", MODULE] as const;

/** A way to run the server. chosen: a setting names it, so nothing else will do. */
export interface Candidate {
  readonly from: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly chosen?: boolean;
}

export interface Found extends Candidate {
  readonly version: string;
}

/** What was tried, and why it would not do. */
export interface NotFound {
  readonly tried: readonly { readonly candidate: Candidate; readonly reason: string }[];
}

/** Where to look. Empty texts are places that are not there. */
export interface Places {
  /** Settings `codeprompt.server.path` and `codeprompt.python`. */
  readonly serverPath: string;
  readonly python: string;
  /** The environment's PATH. */
  readonly searchPath: string;
  /** Folders that are open; their `.venv` counts only where they are trusted. */
  readonly folders: readonly string[];
  readonly trusted: boolean;
  /** The Python extension's interpreter. */
  readonly interpreter: string;
  /** The environment that this extension made. */
  readonly environment: string;
  readonly windows: boolean;
}

/** The Python of a virtual environment. */
export function pythonIn(environment: string, windows: boolean): string {
  return windows
    ? path.win32.join(environment, "Scripts", "python.exe")
    : path.posix.join(environment, "bin", "python");
}

/** Every way to run the server, the most wanted first. What is not on the disk is left out. */
export function candidates(
  places: Places,
  exists: (file: string) => boolean = isFile,
): Candidate[] {
  if (places.serverPath) {
    const from = "the setting codeprompt.server.path";
    return [{ from, command: places.serverPath, args: [], chosen: true }];
  }
  if (places.python) {
    return [{ ...byModule(places.python, "the setting codeprompt.python"), chosen: true }];
  }
  const found: Candidate[] = [];
  const script = onPath(SCRIPT, places, exists);
  if (script) found.push({ from: "the PATH", command: script, args: [] });
  for (const folder of places.trusted ? places.folders : []) {
    const python = pythonIn(path.join(folder, ".venv"), places.windows);
    if (exists(python)) found.push(byModule(python, `the .venv of ${path.basename(folder)}`));
  }
  const own = (file: string) => !places.trusted && isWithinAny(file, places.folders);
  if (places.interpreter && !own(places.interpreter)) {
    found.push(byModule(places.interpreter, "the Python extension's interpreter"));
  }
  if (places.environment) {
    const python = pythonIn(places.environment, places.windows);
    if (exists(python)) found.push(byModule(python, "the environment that this extension made"));
  }
  return found.filter((one, at) => found.findIndex((other) => same(one, other)) === at);
}

/** Folders that are not trusted and have a `.venv`, which therefore was not looked at. */
export function unseen(places: Places, exists: (file: string) => boolean = isFile): string[] {
  if (places.trusted || places.serverPath || places.python) return [];
  const inside = (folder: string) => pythonIn(path.join(folder, ".venv"), places.windows);
  return places.folders.filter((folder) => exists(inside(folder)));
}

/** The first candidate that tells its version when it is asked for it. */
export async function locate(
  listed: readonly Candidate[],
  ask: (candidate: Candidate) => Promise<Ended>,
): Promise<Found | NotFound> {
  const tried: { candidate: Candidate; reason: string }[] = [];
  for (const candidate of listed) {
    const ended = await ask(candidate);
    const version = /^codeprompt-lsp (\S+)/m.exec(ended.out)?.[1];
    if (ended.code === 0 && version) return { ...candidate, version };
    tried.push({ candidate, reason: explain(ended) });
  }
  return { tried };
}

export function isFound(result: Found | NotFound): result is Found {
  return "version" in result;
}

/** Why a candidate would not do, as people say it. */
function explain(ended: Ended): string {
  const reason = reasonOf(ended);
  if (reason.includes(`No module named ${MODULE}`)) return "codeprompt is not installed there";
  if (/unknown option:? -P/i.test(ended.err)) return "its Python is older than 3.11";
  return reason;
}

/** The file that a name on the PATH means; only absolute folders outside of open ones count. */
export function onPath(
  name: string,
  places: Pick<Places, "searchPath" | "windows" | "folders" | "trusted">,
  exists: (file: string) => boolean = isFile,
): string {
  const system = places.windows ? path.win32 : path.posix;
  for (const folder of places.searchPath.split(system.delimiter)) {
    if (!system.isAbsolute(folder)) continue;
    const file = system.join(folder, places.windows ? `${name}.exe` : name);
    const hidden = !places.trusted && isWithinAny(file, places.folders);
    if (!hidden && exists(file)) return file;
  }
  return "";
}

function byModule(python: string, from: string): Candidate {
  return { from, command: python, args: MODULE_ARGUMENTS };
}

function same(one: Candidate, other: Candidate): boolean {
  return one.command === other.command && one.args.join(" ") === other.args.join(" ");
}

function isWithinAny(file: string, folders: readonly string[]): boolean {
  return folders.some((folder) => {
    const inside = path.relative(folder, file);
    return inside !== "" && !inside.startsWith("..") && !path.isAbsolute(inside);
  });
}

function isFile(file: string): boolean {
  try {
    if (!statSync(file).isFile()) return false;
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
