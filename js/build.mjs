// Bundles each widget's script and style for the notebook page. The licences of what is bundled stand at their heads.

import { readFileSync } from "node:fs";
import { build } from "esbuild";

const licence = readFileSync("node_modules/uplot/LICENSE", "utf8").trim();
const banner = `/*! Contains uPlot (https://github.com/leeoniya/uPlot):\n\n${licence}\n*/`;

await build({
  entryPoints: ["src/plot.js", "src/plot.css"],
  banner: { js: banner, css: banner },
  ...shared(),
});
await build({ entryPoints: ["src/table.js", "src/table.css"], ...shared() });

function shared() {
  return {
    outdir: "../hermes/notebook/static",
    bundle: true,
    minify: true,
    format: "esm",
    target: ["es2022"],
    charset: "utf8",
    legalComments: "inline",
    logLevel: "warning",
  };
}
