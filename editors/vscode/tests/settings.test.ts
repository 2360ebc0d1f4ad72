import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { IDS, LANGUAGES, targets } from "../src/languages";
import { forServer, LOCATING, OWN } from "../src/settings";

const manifest = JSON.parse(readFileSync("package.json", "utf8"));
const settings = Object.assign(
  {},
  ...manifest.contributes.configuration.map((group: { properties: object }) => group.properties),
) as Record<string, { markdownDescription: string; default: unknown; scope: string }>;

test("the server gets no setting that only the extension reads", () => {
  const section = { python: "/x", server: { path: "" }, setup: {}, hover: { enabled: true } };
  assert.deepEqual(forServer(section), { hover: { enabled: true } });
  assert.equal(forServer(null), null);
});

test("every setting has a description, a default and a scope", () => {
  for (const [name, { markdownDescription, scope, ...rest }] of Object.entries(settings)) {
    assert.ok(markdownDescription && scope && "default" in rest, name);
  }
});

test("settings that name what is run cannot come from a folder that is not trusted", () => {
  const { restrictedConfigurations } = manifest.capabilities.untrustedWorkspaces;
  const running = Object.keys(settings).filter((name) =>
    LOCATING.some((one) => name.startsWith(one)),
  );
  assert.deepEqual([...restrictedConfigurations].sort(), running.sort());
  const personal = Object.keys(settings).filter((name) => name.startsWith("codeprompt.setup."));
  for (const name of [...personal, "codeprompt.threads", "codeprompt.trust"]) {
    assert.ok(["machine", "application"].includes(settings[name]?.scope ?? ""), name);
  }
});

test("our own settings are those that the server does not read", () => {
  const first = new Set(Object.keys(settings).map((name) => name.split(".")[1]));
  for (const name of OWN) assert.ok(first.has(name), name);
});

test("the extension wakes for each language that it sends", () => {
  assert.deepEqual(
    [...manifest.activationEvents].sort(),
    IDS.map((id) => `onLanguage:${id}`).sort(),
  );
});

test("every command of the menus and the walkthrough is there", () => {
  const commands: string[] = manifest.contributes.commands.map(
    (one: { command: string }) => one.command,
  );
  const text = JSON.stringify([manifest.contributes.menus, manifest.contributes.walkthroughs]);
  const used = [...text.matchAll(/"command":"(codeprompt\.\w+)"|command:(codeprompt\.\w+)/g)];
  for (const [, menu, link] of used)
    assert.ok(commands.includes((menu ?? link) as string), menu ?? link);
});

test("a function is not translated to its own language", () => {
  assert.equal(targets("typescriptreact", []).length, LANGUAGES.length - 1);
  assert.deepEqual(
    targets("java", ["java", "c-sharp"]).map(({ name }) => name),
    ["c-sharp"],
  );
});
