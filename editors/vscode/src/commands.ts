/** The commands of the palette. The server registers its own names (`codeprompt.document`, ...) with
 * their bare arguments; these ask for what is lacking. */

import * as vscode from "vscode";
import { count, cursor, editorInFront, folder } from "./ask";
import type { StatusPage } from "./documents";
import { targets } from "./languages";
import { statusText } from "./page";
import type { Session } from "./session";
import { SECTION } from "./settings";
import { bareName } from "./words";

const TASKS = ["summarize", "defect", "translate", "localize"];

interface Tuning {
  readonly folder?: string;
  readonly shots?: number;
  readonly steps?: number;
}

/** What the palette's commands do, by name. */
export function actions(
  session: Session,
  page: StatusPage,
): Record<string, (given?: unknown) => Promise<unknown>> {
  return {
    documentFunction: async () => {
      const place = cursor();
      return place && session.execute("codeprompt.document", place);
    },
    documentMissing: async () => {
      const uri = editorInFront()?.document.uri.toString();
      if (uri) tellWritten(await session.execute("codeprompt.documentFile", { uri }));
    },
    documentWorkspace: async () => {
      const chosen = await folder("Document which folder?");
      const given = { folder: chosen?.toString() };
      if (chosen) tellWritten(await session.execute("codeprompt.documentFile", given));
    },
    summarizeFolder: async () => {
      const chosen = await folder("Summarize which folder?");
      const given = { folder: chosen?.toString() };
      return chosen && session.execute("codeprompt.summarizeWorkspace", given);
    },
    translateFunction: async () => {
      const editor = editorInFront();
      const target = editor && (await language(session, editor.document));
      return target && session.execute("codeprompt.translate", { ...cursor(), target });
    },
    explainWarning: async () => {
      const place = cursor();
      return place && session.execute("codeprompt.explain", place);
    },
    tuneProject: (given) => tune(session, (given ?? {}) as Tuning),
    pickPack: () => pick(session),
    openStatus: async () => {
      const status = await session.execute("codeprompt.showStatus");
      if (status) await page.open(statusText(session.state, status));
    },
    cancelWork: async () => {
      const told = await session.execute<{ cancelled: string[] }>("codeprompt.cancel");
      if (!told) return;
      const what = told.cancelled.length
        ? `Cancelled: ${told.cancelled.join(", ")}`
        : "Nothing runs";
      void vscode.window.setStatusBarMessage(`codeprompt: ${what}.`, 5000);
    },
  };
}

async function tune(session: Session, given: Tuning): Promise<unknown> {
  const chosen = given.folder ?? (await folder("Tune on which folder?"))?.toString();
  if (!chosen) return undefined;
  const scope = vscode.Uri.parse(chosen);
  const usual = vscode.workspace.getConfiguration(SECTION, scope).get("tune.shots", 64);
  const title = "How many documented functions to learn from?";
  const shots = given.shots ?? (await count(title, usual));
  if (!shots) return undefined;
  const steps = given.steps ? { steps: given.steps } : {};
  return session.execute("codeprompt.tune", { folder: chosen, shots, ...steps });
}

async function pick(session: Session): Promise<void> {
  const placeHolder = "A pack for which task?";
  const task = await vscode.window.showQuickPick(TASKS, { placeHolder });
  if (!task) return;
  const told = await session.execute<{ packs: string[] }>("codeprompt.choosePack", {
    task,
    list: true,
  });
  if (!told) return;
  const automatic = { label: "Automatic", description: "this project's own, else the newest" };
  const items = [{ ...automatic, pack: "" }, ...told.packs.map(named)];
  const chosen = await vscode.window.showQuickPick(items, { placeHolder: `Who answers ${task}?` });
  if (chosen) await session.execute("codeprompt.choosePack", { task, pack: chosen.pack });
}

/** A pack as people call it. */
function named(pack: string): { label: string; description: string; pack: string } {
  const label = bareName(pack);
  return { label, description: label === pack ? "" : "tuned on this project", pack };
}

/** A language that packs for this document's write; a person picks where there are several. */
async function language(
  session: Session,
  document: vscode.TextDocument,
): Promise<string | undefined> {
  const given = { uri: document.uri.toString(), list: true };
  const offered = await session.execute<{ targets: string[] }>("codeprompt.translate", given);
  if (!offered) return undefined;
  const items = targets(document.languageId, offered.targets);
  if (items.length === 1) return items[0]?.name;
  const placeHolder = "Translate to which language?";
  return (await vscode.window.showQuickPick([...items], { placeHolder }))?.name;
}

function tellWritten(told: { written: number; unsure: number } | undefined): void {
  if (!told) return;
  const unsure = told.unsure ? `; the model was not sure about ${told.unsure}` : "";
  const text = told.written ? `documented ${told.written} functions` : "nothing was written";
  void vscode.window.setStatusBarMessage(`codeprompt: ${text}${unsure}.`, 8000);
}
