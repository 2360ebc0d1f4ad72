import assert from "node:assert/strict";
import { test } from "node:test";
import { duration, statusText } from "../src/page";
import { bareName, type ServerStatus, type Session, shown, skippedReason } from "../src/words";

const RUNNING: Session = { kind: "running", from: "the PATH", version: "0.1.0" };
const READY: ServerStatus = {
  state: "ready",
  health: "ok",
  message: "The engine is ready. No pack for defect.",
  packs: { summarize: "summarize@61c9" },
  missing: ["defect"],
  resting: "",
  skipped: { "file:///a%20b/x.py": "it is generated" },
  notes: [],
};

test("without a server the bar warns, and says what was tried", () => {
  const found = shown(
    { kind: "missing", why: ["Tried the PATH: it ended with code 1."], offer: true },
    undefined,
  );
  assert.equal(found.text, "$(warning) codeprompt: not set up");
  assert.equal(found.colour, "warning");
  assert.match(found.tooltip, /Tried the PATH/);
});

test("a ready engine shows the packs that answer and where the server is from", () => {
  const found = shown(RUNNING, READY);
  assert.equal(found.text, "$(book) codeprompt");
  assert.match(found.tooltip, /summarize: `summarize@61c9`/);
  assert.match(found.tooltip, /No pack for defect/);
  assert.match(found.tooltip, /Server 0\.1\.0, from the PATH/);
});

test("an engine that starts or loads turns, and one that failed is red", () => {
  const loading = {
    ...READY,
    state: "loading",
    health: "busy",
    message: "The model is loading.",
  } as const;
  assert.equal(shown(RUNNING, loading).text, "$(sync~spin) codeprompt loading");
  const failed = {
    ...READY,
    state: "failed",
    health: "error",
    message: "It cannot start.",
  } as const;
  assert.equal(shown(RUNNING, failed).colour, "error");
});

test("a file that is left alone says so, whichever way its address is written", () => {
  const reason = skippedReason(READY, "file:///a b/x.py");
  assert.equal(reason, "it is generated");
  assert.equal(skippedReason(READY, "file:///other.py"), "");
  const found = shown(RUNNING, READY, reason);
  assert.equal(found.text, "$(circle-slash) codeprompt");
  assert.match(found.tooltip, /left alone: it is generated/);
});

test("a server that stopped is never shown by what it said last", () => {
  const found = shown({ kind: "stopped", why: "The log says why." }, READY);
  assert.equal(found.text, "$(error) codeprompt: stopped");
  assert.doesNotMatch(found.tooltip, /ready/);
});

test("a pack is called without its project's number", () => {
  assert.equal(bareName("project.6dd2cbab.summarize"), "summarize");
  assert.equal(bareName("project.mine"), "project.mine");
});

test("the status page has packs, jobs, the engine and files left alone", () => {
  const told = {
    ...READY,
    engine: {
      version: "0.1.0",
      up_seconds: 130,
      memory: { process: 473_000_000 },
      backbones: [{ name: "builtin-1", precision: "int8", bytes: 27_860_992, answered: 194 }],
    },
    jobs: [
      {
        status: "done",
        detail: {
          spec: { name: "project.6dd2cbab.summarize", data: "/home/a|b" },
          version: "ed82",
          started: 10,
          ended: 20.4,
        },
      },
      { status: "failed", detail: { error: { message: "No functions\nwere found" } } },
    ],
  };
  const page = statusText(RUNNING, told);
  assert.match(page, /\| summarize \| `summarize@61c9` \|/);
  assert.match(page, /\| `summarize@ed82` \| done \| 10 s \| a\\\|b \|/);
  assert.match(page, /\| `\?` \| failed: No functions were found \|/);
  assert.match(page, /\| `builtin-1` \| int8 \| 28 MB \| 194 \|/);
  assert.match(page, /Version 0\.1\.0, up for 2 min, 473 MB of memory\./);
  assert.match(page, /\| x\.py \| it is generated \|/);
});

test("an engine that cannot be asked is told so", () => {
  assert.match(
    statusText(RUNNING, { ...READY, engine: { error: "No answer." } }),
    /## Engine\n\nNo answer\./,
  );
});

test("durations are said as people say them", () => {
  assert.deepEqual([4, 99, 130, 3600, 7200].map(duration), [
    "4 s",
    "99 s",
    "2 min",
    "60 min",
    "2 h",
  ]);
});
