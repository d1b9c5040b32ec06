// What the page itself loads, Comlink and Valibot included. The workers are files of their own, with ONNX Runtime.
// What is imported only when it is asked for (a trace, tracks in DevTools) stands apart.
const onDemand = ["./observe/recorder.js", "./effects-devtools.js", "./effects-storage.js", "./effects-answers.js"];

/** @type {import("size-limit").SizeLimitConfig} */
export default [
  {
    name: "JavaScript on the main thread, gzip",
    path: "dist/index.js",
    limit: "31.5 kB",
    gzip: true,
    modifyEsbuildConfig: (config) => ({ ...config, format: "esm", external: onDemand }),
  },
  {
    name: "The same with all that may be loaded later, gzip",
    path: "dist/index.js",
    limit: "35 kB",
    gzip: true,
    modifyEsbuildConfig: (config) => ({ ...config, format: "esm" }),
  },
];
