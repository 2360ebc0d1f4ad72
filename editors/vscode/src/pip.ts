/** What pip would install, how large it is, and how far it has come. */

import { stat } from "node:fs/promises";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";

export interface Package {
  readonly name: string;
  readonly version: string;
  readonly url: string;
}

export interface Sized extends Package {
  /** Bytes; undefined where nobody told. */
  readonly size: number | undefined;
}

/** The packages of pip's installation report (version 1, `pip install --dry-run --report`). */
export function packagesOf(report: unknown): Package[] {
  const told = report as {
    version?: string;
    install?: { metadata: { name: string; version: string }; download_info: { url: string } }[];
  };
  if (told?.version !== "1" || !Array.isArray(told.install)) {
    throw new Error("pip's report has a form that is not known here");
  }
  return told.install.map(({ metadata, download_info }) => ({
    name: metadata.name,
    version: metadata.version,
    url: download_info.url,
  }));
}

/** Lines for a constraints file: what was told is what is installed. Local files are left out. */
export function pinned(packages: readonly Package[], local: string): string {
  const lines = packages.filter(({ url }) => url !== local);
  return lines.map(({ name, version }) => `${name}==${version}\n`).join("");
}

/** The size of what a URL leads to. head: asks a web server. */
export async function sizeOf(
  url: string,
  head: (url: string) => Promise<number | undefined>,
): Promise<number | undefined> {
  if (url.startsWith("file:")) return (await stat(fileURLToPath(url))).size;
  return head(url.replace(/#.*$/, ""));
}

/** Sizes of all packages, a few at a time. */
export async function sized(
  packages: readonly Package[],
  size: (url: string) => Promise<number | undefined>,
  atOnce = 8,
): Promise<Sized[]> {
  const found: Sized[] = [];
  let next = 0;
  const worker = async () => {
    while (next < packages.length) {
      const at = next++;
      const one = packages[at] as Package;
      found[at] = { ...one, size: await size(one.url).catch(() => undefined) };
    }
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, packages.length) }, worker));
  return found;
}

/** Content-Length of a URL, by a HEAD request that waits for 20 s. */
export async function contentLength(url: string, signal: AbortSignal): Promise<number | undefined> {
  const limits = AbortSignal.any([signal, AbortSignal.timeout(20_000)]);
  const answer = await fetch(url, { method: "HEAD", signal: limits });
  const length = Number(answer.headers.get("content-length") ?? Number.NaN);
  return answer.ok && Number.isFinite(length) ? length : undefined;
}

/** `1.2 GB`, `214 MB`, `18 kB`. */
export function bytes(count: number): string {
  const units = ["B", "kB", "MB", "GB"];
  let value = count;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value < 9.95 && unit > 1 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

/** What a person is told before anything large is downloaded: the sum, and its largest parts. */
export function plan(packages: readonly Sized[]): { total: string; detail: string } {
  const remote = packages.filter(({ url }) => !url.startsWith("file:"));
  const unknown = remote.filter(({ size }) => size === undefined);
  const sum = remote.reduce((total, { size }) => total + (size ?? 0), 0);
  const largest = [...remote].sort((a, b) => (b.size ?? 0) - (a.size ?? 0)).slice(0, 4);
  const parts = largest.map(({ name, version, size }) =>
    size === undefined ? `${name} ${version}` : `${name} ${version} ${bytes(size)}`,
  );
  const detail = [`${packages.length} packages; the largest: ${parts.join(", ")}.`];
  const here = packages.length - remote.length;
  if (here) detail.push(`${here} of them are on this machine already.`);
  if (unknown.length) detail.push(`Nobody told the size of ${unknown.length} of them.`);
  if (packages.some(({ name }) => name.startsWith("nvidia-"))) {
    detail.push(
      "This is PyTorch for NVIDIA cards. The setting codeprompt.setup.torchIndex names where to " +
        "get the much smaller one for processors.",
    );
  }
  return { total: `${unknown.length ? "more than " : ""}${bytes(sum)}`, detail: detail.join(" ") };
}

/** Follows pip's lines: the share of the bytes that have begun to come, and what comes now. */
export class Progress {
  private readonly sizes: Map<string, number>;
  private readonly total: number;
  private begun = 0;
  private current = 0;

  constructor(packages: readonly Sized[]) {
    this.sizes = new Map(packages.map(({ url, size }) => [fileName(url), size ?? 0]));
    this.total = Math.max(
      1,
      [...this.sizes.values()].reduce((sum, size) => sum + size, 0),
    );
  }

  /** After a line: how many percent more, and a sentence; undefined for lines that say nothing. */
  line(text: string): { increment: number; message: string } | undefined {
    const match = /^\s*(?:Downloading|Using cached|Processing) (\S+)/.exec(text);
    if (match?.[1]) {
      const name = fileName(match[1]);
      const size = this.sizes.get(name);
      if (size === undefined) return undefined;
      this.sizes.delete(name);
      const before = this.begun;
      this.begun += this.current;
      this.current = size;
      const increment = (90 * (this.begun - before)) / this.total;
      return { increment, message: `${name.split("-")[0]} (${bytes(size)})` };
    }
    if (text.startsWith("Installing collected packages")) {
      const increment = (90 * (this.total - this.begun)) / this.total;
      return { increment, message: "unpacking" };
    }
    return undefined;
  }
}

function fileName(url: string): string {
  return decodeURIComponent(basename(url.replace(/[#?].*$/, "").replaceAll("\\", "/")));
}
