// Bundles the extension (out/extension.js), or with --tests each of the tests (out/tests/*.test.js).
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { build, context } from "esbuild";

const tests = process.argv.includes("--tests");
const outdir = tests ? "out/tests" : "out";
const options = {
  entryPoints: tests ? readdirSync("tests").map((name) => `tests/${name}`) : ["src/extension.ts"],
  bundle: true,
  platform: "node",
  format: "cjs",
  target: "node20",
  external: ["vscode"],
  outdir,
  minify: !tests,
  metafile: true,
  sourcemap: tests ? "inline" : false,
  legalComments: "none",
  logLevel: "info",
};

/** The licences of all packages that went into the bundle, as they ask for. */
function notices({ inputs }) {
  const roots = Object.keys(inputs).map(
    (file) => /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(file)?.[1],
  );
  const parts = [...new Set(roots.filter(Boolean))].sort().map((root) => {
    const { name, version, license } = JSON.parse(readFileSync(`${root}/package.json`, "utf8"));
    const file = readdirSync(root).find((one) => /^licen[sc]e(\.|$)/i.test(one));
    if (!file || !existsSync(`${root}/${file}`)) throw new Error(`${name} brings no licence`);
    return `${name} ${version} (${license})\n\n${readFileSync(`${root}/${file}`, "utf8").trim()}\n`;
  });
  return parts.join(`\n${"-".repeat(80)}\n\n`);
}

rmSync(outdir, { recursive: true, force: true });
if (process.argv.includes("--watch")) {
  await (await context(options)).watch();
} else {
  const { metafile } = await build(options);
  if (!tests) writeFileSync("out/NOTICES.txt", notices(metafile));
}
