// The parts of the soak. Each is meant to take at most 45 minutes on two cores.

/** Name of each part, and its arguments for `npm test`. */
export const PARTS: Readonly<Record<string, readonly string[]>> = {
  unit: ["unit"],
  integration: ["integration"],
  simulation: ["simulation"],
  mutants: ["mutants"],
  "mutants-auto": ["mutants-auto"],
  whole: ["whole"],
  ...Object.fromEntries(
    [
      "engine/faults.spec",
      "storage/delivery.spec",
      "storage/stores.spec",
      "storage/hub.spec",
      "engine/mixed-load",
      "engine/ocr-lines",
      "site/vad",
      "engine/frames",
      "browsers/features.spec",
      "browsers/parity",
      "browsers/setup.spec",
      "browsers/error-messages",
    ].flatMap((suite) =>
      ["chromium", "firefox"].map((browser) => [
        `${suite.replace(/^.*\/|\.spec$/g, "")}-${browser}`,
        [suite, `--project=${browser}`],
      ]),
    ),
  ),
  pages: [
    "site",
    "spam",
    "search",
    "camera",
    "models",
    "ocr.own-browser",
    "scheduler-page",
    "faults-page",
    "offload-page",
  ].map((x) => `site/${x}`),
  placement: [
    "backend.spec",
    "batches",
    "external-data",
    "own-model",
    "bare-model",
    "large-model",
    "memory-short",
    "run-memory",
    "golden.spec",
    "golden-images",
    "golden-ways",
    "golden-rounding",
    "half",
    "backend-choice",
    "compressed",
    "hidden-tab",
    "observe",
    "wasm-split",
    "operators",
    "threads",
  ]
    .map((x) => `engine/${x}`)
    .concat("--project=chromium", "--project=firefox"),
  swiftshader: ["--project=swiftshader"],
  ...Object.fromEntries(
    ["chromium", "firefox"].flatMap((browser) => [
      [`lies-${browser}`, ["engine/golden-lies", `--project=${browser}`]],
      [`lies-kernels-${browser}`, ["engine/golden-kernels", "engine/golden-hostile", `--project=${browser}`]],
    ]),
  ),
  minilm: ["engine/minilm"],
  ...Object.fromEntries(
    ["chromium", "firefox"].map((browser) => [`recall-${browser}`, ["engine/recall", `--project=${browser}`]]),
  ),
  architectures: ["engine/architectures", "engine/answers"],
  "lies-halves": ["--project=own-browser", "engine/golden-halves"],
  webkit: ["--project=webkit"],
  leak: ["--project=own-browser", "engine/leak"],
  life: ["--project=own-browser", "engine/page-lifecycle", "storage/prerender"],
  memory: ["--project=own-browser", "engine/memory.own", "engine/memory-limit"],
  ...Object.fromEntries(
    ["chromium", "firefox"].map((browser) => [
      `apps-${browser}`,
      ["apps/matrix", "apps/hosts", "apps/init", `--project=${browser}`],
    ]),
  ),
  remote: ["--project=chromium", "remote/engines", "remote/export", "remote/proxies", "remote/serve"],
  "remote-placement": ["--project=chromium", "--project=firefox", "remote/placement"],
  package: ["site/package", "storage/offline"],
  consumers: [
    ...["entries", "consumers", "react", "testing", "vite", "from-ort", "from-transformers", "ai-sdk", "examples"].map(
      (x) => `site/${x}.spec`,
    ),
    "browsers/minimum",
  ],
  doctor: ["--project=own-browser", "site/doctor.own"],
  ...Object.fromEntries(["sites", "pages"].map((x) => [`doctor-${x}`, ["--project=own-browser", `site/doctor-${x}`]])),
};
