// What the page itself loads, Comlink and Valibot included. The workers are files of their own, with ONNX Runtime.
// Parts that are imported only when they are asked for (a trace, tracks in DevTools) have a bound of their own.
// `npm run verify` fails above `limit` and warns at 10 % above the size in
// .ci/recorded-sizes.json, which a change on purpose sets anew.
const onDemand = [
  "./observe/recorder.js",
  "./effects-devtools.js",
  "./effects-storage.js",
  "./effects-answers.js",
  "./cache/results.js",
];
/** @type {(path: string) => import("size-limit").SizeLimitConfig[number]} */
const part = (path) => ({
  name: `Loaded when it is asked for: ${path}, gzip`,
  path: `dist/${path}`,
  limit: "6 kB",
  gzip: true,
  modifyEsbuildConfig: (config) => ({ ...config, format: "esm" }),
});

/** @type {import("size-limit").SizeLimitConfig} */
export default [
  {
    name: "JavaScript on the main thread, gzip",
    path: "dist/index.js",
    limit: "40 kB",
    gzip: true,
    modifyEsbuildConfig: (config) => ({ ...config, format: "esm", external: onDemand }),
  },
  part("observe/recorder.js"),
  part("effects-devtools.js"),
  part("effects-storage.js"),
  part("effects-answers.js"),
  part("cache/results.js"),
];
