import assert from "node:assert/strict";
import { test } from "node:test";
import { candidates, isFound, locate, onPath, type Places, unseen } from "../src/locate";

const PLACES: Places = {
  serverPath: "",
  python: "",
  searchPath: "/opt/tools:/usr/bin",
  folders: ["/home/me/project"],
  trusted: true,
  interpreter: "",
  environment: "",
  windows: false,
};
const all = () => true;
const none = () => false;
const ended = (code: number, out: string, err = "") => ({ code, out, err });

test("a setting is the only candidate, for a person has chosen", () => {
  const found = candidates(
    { ...PLACES, serverPath: "/x/codeprompt-lsp", python: "/x/python" },
    all,
  );
  assert.deepEqual(
    found.map(({ command, args, chosen }) => ({ command, args, chosen })),
    [{ command: "/x/codeprompt-lsp", args: [], chosen: true }],
  );
  const [python] = candidates({ ...PLACES, python: "/x/python" }, all);
  assert.deepEqual(python?.args, ["-P", "-m", "lsp_server"]);
});

test("the PATH comes before the folder's .venv, the interpreter and our own environment", () => {
  const places = { ...PLACES, interpreter: "/conda/bin/python", environment: "/store/env" };
  assert.deepEqual(
    candidates(places, all).map(({ command }) => command),
    [
      "/opt/tools/codeprompt-lsp",
      "/home/me/project/.venv/bin/python",
      "/conda/bin/python",
      "/store/env/bin/python",
    ],
  );
});

test("what is not on the disk is no candidate", () => {
  assert.deepEqual(candidates({ ...PLACES, environment: "/store/env" }, none), []);
});

test("a folder that is not trusted runs nothing of its own", () => {
  const places = {
    ...PLACES,
    trusted: false,
    searchPath: "/home/me/project/bin:/usr/bin",
    interpreter: "/home/me/project/.venv/bin/python",
  };
  assert.deepEqual(
    candidates(places, all).map(({ command }) => command),
    ["/usr/bin/codeprompt-lsp"],
  );
});

test("a .venv that was not looked at is told, and only then", () => {
  assert.deepEqual(unseen({ ...PLACES, trusted: false }, all), ["/home/me/project"]);
  assert.deepEqual(unseen({ ...PLACES, trusted: false }, none), []);
  assert.deepEqual(unseen(PLACES, all), []);
  assert.deepEqual(unseen({ ...PLACES, trusted: false, python: "/x/python" }, all), []);
});

test("a folder whose name only begins like the open one is another folder", () => {
  const places = { ...PLACES, trusted: false, searchPath: "/home/me/project-tools" };
  assert.equal(onPath("codeprompt-lsp", places, all), "/home/me/project-tools/codeprompt-lsp");
});

test("relative folders of the PATH are passed over", () => {
  assert.equal(onPath("codeprompt-lsp", { ...PLACES, searchPath: ".:bin" }, all), "");
});

test("the same way is tried once", () => {
  const python = "/home/me/project/.venv/bin/python";
  const found = candidates({ ...PLACES, searchPath: "", interpreter: python }, all);
  assert.deepEqual(
    found.map(({ command }) => command),
    [python],
  );
});

test("on Windows the executable has its ending and environments have Scripts", () => {
  const places = {
    ...PLACES,
    windows: true,
    searchPath: "C:\\tools;D:\\more",
    folders: [],
    environment: "C:\\store\\env",
  };
  const found = candidates(places, (file) => !file.startsWith("C:\\tools"));
  assert.deepEqual(
    found.map(({ command }) => command),
    ["D:\\more\\codeprompt-lsp.exe", "C:\\store\\env\\Scripts\\python.exe"],
  );
});

test("the first candidate that tells a version is found", async () => {
  const listed = candidates({ ...PLACES, interpreter: "/conda/bin/python" }, all);
  const found = await locate(listed, async ({ command }) =>
    command.includes("conda")
      ? ended(0, "codeprompt-lsp 0.1.0\n")
      : ended(1, "", "/x/python: No module named lsp_server\n"),
  );
  assert.ok(isFound(found));
  assert.equal(found.version, "0.1.0");
  assert.equal(found.from, "the Python extension's interpreter");
});

test("what will not do is told with its reason", async () => {
  const listed = candidates({ ...PLACES, searchPath: "", interpreter: "/old/python" }, all);
  const found = await locate(listed, async ({ command }) =>
    command === "/old/python"
      ? ended(2, "", "unknown option -P\nusage: python\n")
      : ended(1, "", "/x/python: No module named lsp_server\n"),
  );
  assert.ok(!isFound(found));
  assert.deepEqual(
    found.tried.map(({ reason }) => reason),
    ["codeprompt is not installed there", "its Python is older than 3.11"],
  );
});

test("another program of that name, which tells no version, is not our server", async () => {
  const found = await locate(candidates(PLACES, all), async () => ended(0, "hello\n"));
  assert.ok(!isFound(found));
});
