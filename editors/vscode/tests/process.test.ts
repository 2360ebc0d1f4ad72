import assert from "node:assert/strict";
import { test } from "node:test";
import { reasonOf, run } from "../src/process";

const node = (code: string, options = {}) => run(process.execPath, ["-e", code], options);

test("output comes whole, and line by line while it runs", async () => {
  const lines: string[] = [];
  const ended = await node("console.log('one'); console.log('two'); console.error('aside')", {
    onLine: (line: string) => lines.push(line),
  });
  assert.deepEqual(ended, { code: 0, out: "one\ntwo\n", err: "aside\n" });
  assert.deepEqual(lines, ["one", "two"]);
});

test("a failure tells its code and its last words", async () => {
  const ended = await node("console.error('first\\nlast words'); process.exit(3)");
  assert.equal(ended.code, 3);
  assert.equal(reasonOf(ended), "last words");
  assert.equal(reasonOf({ code: 7, out: "", err: "" }), "it ended with code 7");
});

test("a command that is not there is no exception", async () => {
  const ended = await run("/no/such/command", []);
  assert.equal(ended.code, -1);
  assert.match(reasonOf(ended), /\/no\/such\/command is not there/);
});

test("one that hangs is ended after its time", async () => {
  const ended = await node("setInterval(() => {}, 1000)", { timeout: 300 });
  assert.notEqual(ended.code, 0);
  assert.match(reasonOf(ended), /it was ended/);
});

test("one that is given up ends at once", async () => {
  const aborter = new AbortController();
  const ended = node("console.log('up'); setInterval(() => {}, 1000)", {
    signal: aborter.signal,
    onLine: () => aborter.abort(),
  });
  assert.notEqual((await ended).code, 0);
});

test("arguments reach the process as they are, through no shell", async () => {
  const ended = await run(process.execPath, [
    "-e",
    "console.log(process.argv[1])",
    "a b; $(ls) '\"",
  ]);
  assert.equal(ended.out, "a b; $(ls) '\"\n");
});
