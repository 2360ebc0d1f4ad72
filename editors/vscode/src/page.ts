/** The status as a page of Markdown. */

import { bytes } from "./pip";
import { bareName, type ServerStatus, type Session } from "./words";

/** What `codeprompt.showStatus` tells; the engine's part is there while it is ready. */
interface Told extends ServerStatus {
  readonly engine?: Engine;
  readonly jobs?: readonly Job[];
}

interface Engine {
  readonly error?: string;
  readonly version?: string;
  readonly up_seconds?: number;
  readonly memory?: { readonly process?: number };
  readonly backbones?: readonly Backbone[];
}

interface Backbone {
  readonly name?: string;
  readonly precision?: string;
  readonly bytes?: number;
  readonly answered?: number;
}

interface Job {
  readonly status?: string;
  readonly detail?: {
    readonly spec?: { readonly name?: string; readonly data?: string };
    readonly version?: string | null;
    readonly started?: number | null;
    readonly ended?: number | null;
    readonly error?: { readonly message?: string } | null;
  };
}

/** For people. */
export function statusText(session: Session, told: unknown): string {
  const status = told as Told;
  const parts = [`# codeprompt\n\n${status.message}`];
  if ("version" in session) parts.push(`Server ${session.version}, from ${session.from}.`);
  const packs = Object.entries(status.packs).map(([task, pack]) => [task, `\`${pack}\``]);
  parts.push(table("Packs that answer", ["task", "pack"], packs));
  parts.push(
    table("Tuning", ["pack", "state", "took", "learned from"], (status.jobs ?? []).map(job)),
  );
  parts.push(engine(status.engine));
  parts.push(table("Files left alone", ["file", "why"], Object.entries(status.skipped).map(file)));
  if (status.notes.length) parts.push(["## Notes\n", ...status.notes.map(item)].join("\n"));
  return `${parts.filter(Boolean).join("\n\n")}\n`;
}

function engine(told: Engine | undefined): string {
  if (!told) return "";
  if (told.error) return `## Engine\n\n${told.error}`;
  const rows = (told.backbones ?? []).map((one) => [
    `\`${one.name ?? "?"}\``,
    one.precision ?? "",
    one.bytes === undefined ? "" : bytes(one.bytes),
    String(one.answered ?? 0),
  ]);
  const memory = told.memory?.process;
  const facts = [
    `Version ${told.version ?? "?"}`,
    told.up_seconds === undefined ? "" : `up for ${duration(told.up_seconds)}`,
    memory === undefined ? "" : `${bytes(memory)} of memory`,
  ];
  const head = ["model", "weights", "size", "questions answered"];
  return `${table("Engine", head, rows)}\n\n${facts.filter(Boolean).join(", ")}.`;
}

function job({ status, detail }: Job): string[] {
  const { spec, version, started, ended, error } = detail ?? {};
  const name = bareName(spec?.name ?? "?");
  const took = started && ended ? duration(ended - started) : "";
  const state = error?.message ? `${status}: ${error.message}` : (status ?? "?");
  return [
    `\`${version ? `${name}@${version}` : name}\``,
    state,
    took,
    spec?.data?.split(/[\\/]/).at(-1) ?? "",
  ];
}

function file([uri, reason]: [string, string]): string[] {
  return [decodeURIComponent(uri.split("/").at(-1) ?? uri), reason];
}

function item(note: string): string {
  return `- ${note}`;
}

/** `45 s`, `12 min`, `3 h`. */
export function duration(seconds: number): string {
  if (seconds < 99.5) return `${Math.round(seconds)} s`;
  return seconds < 5970 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
}

function table(title: string, head: readonly string[], rows: readonly string[][]): string {
  if (!rows.length) return "";
  const line = (cells: readonly string[]) => `| ${cells.map(cell).join(" | ")} |`;
  return [`## ${title}\n`, line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}

function cell(text: string): string {
  return text.replaceAll("|", "\\|").replace(/\s*\n\s*/g, " ");
}
