/** What the status bar says: text, tooltip and colour, from the server's own notification. */

/** `codeprompt/status`, as the server sends it. */
export interface ServerStatus {
  readonly state: "idle" | "starting" | "loading" | "ready" | "failed";
  readonly health: "ok" | "busy" | "error";
  readonly message: string;
  readonly packs: Readonly<Record<string, string>>;
  readonly missing: readonly string[];
  readonly resting: string;
  readonly skipped: Readonly<Record<string, string>>;
  readonly notes: readonly string[];
}

/** `codeprompt/job`, at the end of a tuning job. */
export interface JobEnd {
  readonly job: string;
  readonly status: string;
  readonly message: string;
}

/** Where the server is, as the extension knows it. */
export type Session =
  | { readonly kind: "looking" }
  /** offer: whether an environment of our own is what it takes. */
  | { readonly kind: "missing"; readonly why: readonly string[]; readonly offer: boolean }
  | { readonly kind: "starting" | "running"; readonly from: string; readonly version: string }
  | { readonly kind: "stopped"; readonly why: string };

export interface Shown {
  readonly text: string;
  readonly tooltip: string;
  readonly colour: "" | "warning" | "error";
}

const NAME = "codeprompt";

/** The status bar item. skipped: why the file in front is left alone, if it is. */
export function shown(session: Session, status: ServerStatus | undefined, skipped = ""): Shown {
  switch (session.kind) {
    case "looking":
      return item("$(sync~spin)", "", ["Looking for the server."]);
    case "missing":
      return item(
        "$(warning)",
        ": not set up",
        ["**There is no server.**", ...session.why],
        "warning",
      );
    case "stopped":
      return item("$(error)", ": stopped", ["**The server has stopped.**", session.why], "error");
    case "starting":
      return item("$(sync~spin)", "", [`Starting the server (${session.from}).`]);
  }
  const source = `Server ${session.version}, from ${session.from}.`;
  if (!status) return item("$(book)", "", [source]);
  const lines = [status.message, ...packLines(status)];
  if (skipped) lines.push(`This file is left alone: ${skipped}.`);
  lines.push(...status.notes.slice(-3), source);
  if (status.health === "error") return item("$(error)", "", lines, "error");
  if (status.health === "busy") return item("$(sync~spin)", ` ${doing(status)}`, lines);
  if (skipped) return item("$(circle-slash)", "", lines);
  if (status.resting) return item("$(debug-pause)", "", lines);
  return item("$(book)", "", lines);
}

/** Why a document is left alone; "" where it is not. */
export function skippedReason(status: ServerStatus | undefined, uri: string): string {
  const wanted = decodeURIComponent(uri);
  const all = Object.entries(status?.skipped ?? {});
  return all.find(([name]) => decodeURIComponent(name) === wanted)?.[1] ?? "";
}

function doing(status: ServerStatus): string {
  return status.state === "loading" ? "loading" : "starting";
}

function packLines(status: ServerStatus): string[] {
  const packs = Object.entries(status.packs);
  return packs.length ? [packs.map(([task, pack]) => `${task}: \`${pack}\``).join("  \n")] : [];
}

function item(
  icon: string,
  text: string,
  lines: readonly string[],
  colour: Shown["colour"] = "",
): Shown {
  return { text: `${icon} ${NAME}${text}`, tooltip: lines.filter(Boolean).join("\n\n"), colour };
}

/** A pack's name without the number that the engine gives to projects. */
export function bareName(pack: string): string {
  return /^project\.[0-9a-f]{8}\.(.+)$/.exec(pack)?.[1] ?? pack;
}
