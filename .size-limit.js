// What the page itself loads, Comlink and Valibot included. The workers are files of their own, with ONNX Runtime.
// Parts that are imported only when they are asked for (a trace, a map, measurements of two backends) have a bound of their own.
// `npm run verify` fails above `limit` and warns at 10 % above the size in .ci/recorded-sizes.json; after a change on
// purpose, `npm run verify -- --record-sizes` records the sizes anew.
const onDemand = [
  "./record-trace.js",
  "./stateful.js",
  "./devtools-tracks.js",
  "./persist-storage.js",
  "./compile-untyped.js",
  "./diagnose-worker.js",
  "./result-store.js",
  "./result-cache.js",
  "./map-answers.js",
  "./choose-backend.js",
  "./check-gpu.js",
  "./check-model.js",
  "./half-weights.js",
  "./seeded-inputs.js",
  "./second-look.js",
  "./unverified.js",
  "./leave-gpu.js",
  "./load-other.js",
  "./availability.js",
  "./own-description.js",
  "./repository-source.js",
  "./embed.js",
  "./input-fault.js",
  "./remote-lanes.js",
  "./remote-load.js",
  "./hedging.js",
  "./cascade.js",
  "../core/tolerances.js",
  "../core/release-record.js",
  "../core/unreadable.js",
  "../core/read-tensors.js",
];
const remoteOnDemand = ["./infer.js", "./server-state.js", "./json-tensors.js", "./failure-text.js", "./embeddings.js"];
/** @type {(path: string) => import("size-limit").SizeLimitConfig[number]} */
const part = (path) => ({
  name: `Loaded when it is asked for: ${path}, gzip`,
  path: `dist/${path}`,
  limit: "6 kB",
  gzip: true,
  modifyEsbuildConfig: (config) => ({ ...config, format: "esm", external: onDemand }),
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
  {
    // As it is served: an import map's page loads all of it.
    name: "The single file of the main entry, gzip",
    path: "dist/selvedge.min.js",
    limit: "87 kB",
    gzip: true,
    modifyEsbuildConfig: (config) => ({ ...config, loader: { ".js": "copy" } }),
  },
  part("engine/record-trace.js"),
  part("engine/stateful.js"),
  part("engine/devtools-tracks.js"),
  part("effects/persist-storage.js"),
  part("effects/compile-untyped.js"),
  part("effects/diagnose-worker.js"),
  part("engine/result-store.js"),
  part("engine/result-cache.js"),
  part("engine/map-answers.js"),
  part("engine/choose-backend.js"),
  {
    ...part("engine/check-gpu.js"),
    // The page has these already.
    modifyEsbuildConfig: (config) => ({
      ...config,
      format: "esm",
      external: [
        ...onDemand,
        "../core/bundle.js",
        "../core/errors.js",
        "../core/tensor.js",
        "../pool/gpu-loss-ledger.js",
      ],
    }),
  },
  part("engine/check-model.js"),
  part("engine/half-weights.js"),
  part("engine/seeded-inputs.js"),
  part("engine/second-look.js"),
  part("engine/unverified.js"),
  part("core/tolerances.js"),
  part("engine/leave-gpu.js"),
  part("engine/load-other.js"),
  part("engine/availability.js"),
  part("core/release-record.js"),
  part("core/read-tensors.js"),
  part("engine/own-description.js"),
  part("engine/repository-source.js"),
  part("engine/embed.js"),
  part("engine/input-fault.js"),
  {
    ...part("engine/remote-lanes.js"),
    // The page has the checks of options already.
    modifyEsbuildConfig: (config) => ({ ...config, format: "esm", external: [...onDemand, "./check-options.js"] }),
  },
  part("engine/remote-load.js"),
  part("engine/hedging.js"),
  part("engine/cascade.js"),
  {
    ...part("remote/index.js"),
    name: "Client of inference servers, gzip",
    modifyEsbuildConfig: (config) => ({ ...config, format: "esm", external: remoteOnDemand }),
  },
  {
    ...part("remote/infer.js"),
    name: "Tensors of inference servers, loaded with a model's metadata, gzip",
    modifyEsbuildConfig: (config) => ({ ...config, format: "esm", external: remoteOnDemand }),
  },
  part("remote/json-tensors.js"),
  {
    ...part("remote/embeddings.js"),
    // The client has the rest already.
    modifyEsbuildConfig: (config) => ({
      ...config,
      format: "esm",
      external: ["./call.js", "./exchange.js", "./failure.js", "./plain-json.js", "../core/check-inputs.js"],
    }),
  },
  {
    ...part("remote/server-state.js"),
    // The client has the rest already.
    modifyEsbuildConfig: (config) => ({
      ...config,
      format: "esm",
      external: ["./call.js", "./exchange.js", "./failure.js", "./plain-json.js"],
    }),
  },
  part("remote/failure-text.js"),
  {
    ...part("observe/offload.js"),
    name: "Offload report and calibration of a cascade, gzip",
    limit: "1.5 kB",
  },
  {
    ...part("bindings/react.js"),
    name: "React hooks, gzip",
    limit: "2 kB",
    modifyEsbuildConfig: (config) => ({ ...config, format: "esm", external: ["react", "selvedge"] }),
  },
  {
    ...part("bindings/ai-sdk.js"),
    name: "AI SDK models, gzip",
    limit: "1.8 kB",
  },
];
