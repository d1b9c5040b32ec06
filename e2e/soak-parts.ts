// The parts of the soak. Each is meant to take at most 45 minutes on two cores.

/** Name of each part, and its arguments for `npm test`. */
export const PARTS: Readonly<Record<string, readonly string[]>> = {
  unit: ["unit"],
  simulation: ["simulation"],
  mutants: ["mutants"],
  "mutants-auto": ["mutants-auto"],
  ...Object.fromEntries(
    [
      "faults.spec",
      "delivery.spec",
      "stores.spec",
      "crowd",
      "lines",
      "vad",
      "frames",
      "features.spec",
      "parity",
    ].flatMap((suite) =>
      ["chromium", "firefox"].map((browser) => [
        `${suite.replace(".spec", "")}-${browser}`,
        [suite, `--project=${browser}`],
      ]),
    ),
  ),
  pages: ["site", "spam", "camera", "models", "ocr.together", "scheduler-page", "faults-page"],
  placement: ["backend", "batches", "external-data", "choice", "compressed", "hidden", "observe", "rest", "wide"],
  webkit: ["--project=webkit"],
  leak: ["--project=together", "leak"],
  life: ["--project=together", "life", "prerender"],
  memory: ["--project=together", "memory"],
  package: ["package", "offline"],
};
