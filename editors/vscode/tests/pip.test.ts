import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { bytes, Progress, packagesOf, pinned, plan, sized, sizeOf } from "../src/pip";

const TORCH = "https://download.example.org/torch-2.13.0%2Bcpu-cp311-cp311-linux_x86_64.whl";
const REPORT = {
  version: "1",
  pip_version: "24.0",
  install: [
    {
      metadata: { name: "codeprompt", version: "0.1.0" },
      download_info: { url: "file:///ext/codeprompt-0.1.0-py3-none-any.whl", archive_info: {} },
    },
    {
      metadata: { name: "torch", version: "2.13.0+cpu" },
      download_info: { url: TORCH, archive_info: {} },
    },
    {
      metadata: { name: "numpy", version: "2.4.6" },
      download_info: { url: "https://example.org/numpy-2.4.6-cp311.whl", archive_info: {} },
    },
  ],
};
const SIZES: Record<string, number> = {
  [TORCH]: 190e6,
  "https://example.org/numpy-2.4.6-cp311.whl": 17e6,
};

async function packages() {
  return sized(packagesOf(REPORT), async (url) => (url.startsWith("file:") ? 18e6 : SIZES[url]));
}

test("pip's report lists names, versions and addresses", () => {
  assert.deepEqual(packagesOf(REPORT)[1], { name: "torch", version: "2.13.0+cpu", url: TORCH });
});

test("a report of another form is refused rather than guessed", () => {
  assert.throws(() => packagesOf({ version: "2", install: [] }), /form that is not known/);
  assert.throws(() => packagesOf(null), /form that is not known/);
});

test("the sum counts what is downloaded, the largest first", async () => {
  const { total, detail } = plan(await packages());
  assert.equal(total, "207 MB");
  assert.equal(
    detail,
    "3 packages; the largest: torch 2.13.0+cpu 190 MB, numpy 2.4.6 17 MB. " +
      "1 of them are on this machine already.",
  );
});

test("a size that nobody told makes the sum a lower bound", async () => {
  const found = await sized(packagesOf(REPORT), async (url) => {
    if (url === TORCH) throw new Error("no answer");
    return SIZES[url] ?? 18e6;
  });
  const { total, detail } = plan(found);
  assert.equal(total, "more than 17 MB");
  assert.match(detail, /Nobody told the size of 1 of them/);
});

test("the build for NVIDIA cards is pointed out", async () => {
  const nvidia = {
    name: "nvidia-cublas",
    version: "1",
    url: "https://example.org/c.whl",
    size: 4e8,
  };
  assert.match(plan([nvidia]).detail, /setup\.torchIndex/);
});

test("what was told is what is installed", () => {
  const local = "file:///ext/codeprompt-0.1.0-py3-none-any.whl";
  assert.equal(pinned(packagesOf(REPORT), local), "torch==2.13.0+cpu\nnumpy==2.4.6\n");
});

test("a local file has its own size, and a fragment is not part of an address", async () => {
  const folder = await mkdtemp(join(tmpdir(), "codeprompt-"));
  const file = join(folder, "a b.whl");
  await writeFile(file, "12345");
  assert.equal(await sizeOf(pathToFileURL(file).href, async () => undefined), 5);
  await rm(folder, { recursive: true });
  const asked: string[] = [];
  await sizeOf("https://example.org/x.whl#sha256=00", async (url) => {
    asked.push(url);
    return 1;
  });
  assert.deepEqual(asked, ["https://example.org/x.whl"]);
});

test("sizes keep the order of the packages, whichever comes first", async () => {
  const many = Array.from({ length: 20 }, (_, at) => ({
    name: `p${at}`,
    version: "1",
    url: `u${at}`,
  }));
  const resolvers: (() => void)[] = [];
  const asked = sized(
    many,
    (url) => new Promise((resolve) => resolvers.push(() => resolve(Number(url.slice(1))))),
    20,
  );
  for (const resolve of resolvers.reverse()) resolve();
  assert.deepEqual(
    (await asked).map(({ size }) => size),
    many.map((_, at) => at),
  );
});

test("progress grows by the bytes that pip has begun to fetch, to 90 and no more", async () => {
  const progress = new Progress(await packages());
  const lines = [
    "Collecting torch==2.13.0+cpu",
    "Processing ./codeprompt-0.1.0-py3-none-any.whl",
    "  Downloading https://download.example.org/torch-2.13.0%2Bcpu-cp311-cp311-linux_x86_64.whl (190.0 MB)",
    "  Using cached numpy-2.4.6-cp311.whl (17.0 MB)",
    "Installing collected packages: numpy, torch, codeprompt",
    "Successfully installed numpy-2.4.6",
  ];
  const steps = lines.map((line) => progress.line(line));
  assert.deepEqual(
    steps.map((step) => step?.message),
    [undefined, "codeprompt (18 MB)", "torch (190 MB)", "numpy (17 MB)", "unpacking", undefined],
  );
  const sum = steps.reduce((total, step) => total + (step?.increment ?? 0), 0);
  assert.ok(Math.abs(sum - 90) < 1e-9);
});

test("sizes are said as people say them", () => {
  const said = [0, 999, 1000, 18_400, 999_600, 1_240_000, 214e6, 1.26e9].map(bytes);
  assert.deepEqual(said, ["0 B", "999 B", "1 kB", "18 kB", "1.0 MB", "1.2 MB", "214 MB", "1.3 GB"]);
});
