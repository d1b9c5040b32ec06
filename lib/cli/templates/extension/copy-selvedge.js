// Copies what a browser takes of the package: its script, and one build of ONNX Runtime, 15 MB. For WebGPU too, 17 MB
// more, add "jspi" here and leave `backends` out of main.js.
import { cpSync, mkdirSync } from "node:fs";

const builds = ["wasm"];
const files = ["selvedge.min.js", "worker-cache.js", "brotli.wasm"].concat(
  ...builds.map((x) => [`worker-${x}.js`, `ort-${x}.wasm`, `ort-${x}-rest.wasm`]),
);
mkdirSync("selvedge", { recursive: true });
for (const file of files) cpSync(`node_modules/selvedge/dist/${file}`, `selvedge/${file}`);
