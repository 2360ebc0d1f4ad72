/** Processes without a shell: their output, line by line, until they end, time out or are aborted. */

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";

export interface Ended {
  /** The exit code; -1 where the process could not be started or was ended from outside. */
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

export interface RunOptions {
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly signal?: AbortSignal;
  /** Milliseconds until it is killed. */
  readonly timeout?: number;
  /** Called with each line of its standard output. */
  readonly onLine?: (line: string) => void;
}

/** Why a process ended, in one line of its own words. */
export function reasonOf(ended: Ended): string {
  const lines = ended.err.trim().split(/\r?\n/);
  return lines.at(-1)?.trim() || `it ended with code ${ended.code}`;
}

/** Run a command to its end. Never rejects: what went wrong is in `err`, with a code that is not 0. */
export function run(
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<Ended> {
  return new Promise((resolve) => {
    let out = "";
    let err = "";
    const child = spawn(command, args, {
      cwd: options.cwd,
      env: options.env,
      signal: options.signal,
      timeout: options.timeout,
      killSignal: "SIGKILL",
      stdio: ["ignore", "pipe", "pipe"],
      windowsHide: true,
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      err += text;
    });
    createInterface({ input: child.stdout }).on("line", (line) => {
      out += `${line}\n`;
      options.onLine?.(line);
    });
    child.on("error", (error: NodeJS.ErrnoException) => {
      const why = error.code === "ENOENT" ? `${command} is not there` : error.message;
      resolve({ code: -1, out, err: `${err}\n${why}` });
    });
    child.on("close", (code, signal) => {
      const late = signal ? `\nit was ended (${signal})` : "";
      resolve({ code: code ?? -1, out, err: err + late });
    });
  });
}
