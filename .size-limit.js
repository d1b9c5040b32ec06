// What the page itself loads, Comlink and Valibot included. The workers are files of their own, with ONNX Runtime.
/** @type {import("size-limit").SizeLimitConfig} */
export default [
  {
    name: "JavaScript on the main thread, gzip",
    path: "dist/index.js",
    limit: "22 kB",
    gzip: true,
    modifyEsbuildConfig: (config) => ({ ...config, format: "esm" }),
  },
];
