// Part of `models`: the first result of a repository over the line, in a new profile and in a used one. The same files
// beside transformers.js, and beside as many bytes fetched by nothing but the page: the line's own time.
import { cpSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "../../support/prepare.ts";
import type { Case, Sample } from "../kernel/kernel.ts";
import type { Bench } from "../kernel/run.ts";
import { TELL } from "../kernel/visit.ts";
import { buildPage, copyPackage, copyTransformersOrt } from "./built-pages.ts";
import { openLine } from "./line.ts";
import { CACHES_CODE, Profiles } from "./profiles.ts";

const FOLDER = join(ROOT, "e2e/.cache/models-line");
const TEXT = "Finds passages of texts by their meaning.";
const [NEW, USED] = ["new profile", "been here before"].map((x) => `first result of a repository, ${x}`) as [
  string,
  string,
];
/** Most that a first result may take beyond the line's own time. */
const BEYOND_MS = 500;

const embeds = (load: string): string => `
  import { createEngine } from ${JSON.stringify(join(ROOT, "dist/index.js"))};
  const engine = await createEngine({ backends: ["wasm"], workers: 1 });
  const model = await engine.load(${load});
  await model.embed([${JSON.stringify(TEXT)}], { normalize: true });
  ${TELL}`;

/** The pages by folder: each computes a vector and reports the time since the navigation began. */
const PAGES = {
  files: embeds(`"/repository/minilm/", { variant: "q8" }`),
  bundle: embeds(`"/bundle/bundle.json"`),
  peer: `
    import { env, pipeline } from "@huggingface/transformers";
    env.allowRemoteModels = false;
    env.allowLocalModels = true;
    env.localModelPath = "/repository/";
    env.backends.onnx.wasm.numThreads = 1;
    env.backends.onnx.wasm.wasmPaths = "/ort/";
    const extract = await pipeline("feature-extraction", "minilm", { dtype: "q8", device: "wasm" });
    await extract([${JSON.stringify(TEXT)}], { pooling: "mean", normalize: true });
    ${TELL}`,
  line: `
    const bytes = new URL(location.href).searchParams.get("bytes");
    await (await fetch("/filler?bytes=" + bytes)).arrayBuffer();
    ${TELL}`,
} as const;
type PageName = keyof typeof PAGES;

const SUBJECTS: Readonly<Record<PageName, string>> = {
  files: "selvedge, the same files",
  bundle: "selvedge, our bundle",
  peer: "transformers.js",
  line: "the line, as many bytes",
};
const { files: FILES, bundle: BUNDLE, peer: PEER, line: LINE } = SUBJECTS;
const VARIANTS: Readonly<Record<PageName, string>> = { files: "q8", bundle: "chosen here", peer: "q8", line: "none" };

/** Yields the cases. */
export async function* firstResults(
  bench: Bench,
  { repository, bundle }: { readonly repository: string; readonly bundle: string },
): AsyncGenerator<Case> {
  if (![NEW, USED].some((x) => x.includes(bench.only))) return;
  await preparePages(repository, bundle);
  const line = await openLine(FOLDER, { hasValidators: true });
  let bytesOfFiles = 0;
  const of = (page: PageName, value: number): Sample => ({
    value,
    backend: page === "line" ? "none" : "wasm",
    model: page === "line" ? "none" : "all-MiniLM-L6-v2",
    variant: VARIANTS[page],
  });
  const profiles = new Profiles<PageName>(bench, {
    ...line,
    address: (page) => `${line.server.origin}/${page}/index.html?bytes=${bytesOfFiles}`,
    before: CACHES_CODE,
  });
  try {
    const before = line.sentBytes();
    await profiles.visitNew("files");
    bytesOfFiles = line.sentBytes() - before;
    yield {
      name: NEW,
      unit: "ms",
      statistic: "median",
      subjects: (["files", "bundle", "peer", "line"] as const).map((page) => ({
        name: SUBJECTS[page],
        sample: async (slowBy) => of(page, (await profiles.visitNew(page)) * (1 + slowBy)),
      })),
      of: PEER,
      goals: [
        { subject: FILES, minus: LINE, on: "value", atMost: BEYOND_MS },
        { subject: BUNDLE, on: "ratio", atMost: 0.85 },
      ],
      control: PEER,
      rounds: bench.rounds(5),
      warmups: 0,
    };
    yield {
      name: USED,
      unit: "ms",
      statistic: "median",
      subjects: (["files", "bundle", "peer"] as const).map((page) => ({
        name: SUBJECTS[page],
        sample: async (slowBy) => of(page, (await profiles.visitUsed(page)) * (1 + slowBy)),
      })),
      of: PEER,
      goals: [
        { subject: FILES, on: "ratio", atMost: 0.6 },
        { subject: BUNDLE, on: "ratio", atMost: 0.6 },
      ],
      control: PEER,
      rounds: bench.rounds(9),
      warmups: 1,
    };
  } finally {
    await profiles.close();
    await line.server.close();
  }
}

async function preparePages(repository: string, bundle: string): Promise<void> {
  rmSync(FOLDER, { recursive: true, force: true });
  mkdirSync(FOLDER, { recursive: true });
  for (const [name, code] of Object.entries(PAGES)) await buildPage(join(FOLDER, name), code);
  for (const name of ["files", "bundle"]) copyPackage(join(FOLDER, name));
  copyTransformersOrt(join(FOLDER, "ort"));
  // float32 is left out: a folder of 23 MB.
  cpSync(repository, join(FOLDER, "repository/minilm"), {
    recursive: true,
    filter: (path) => !path.endsWith("onnx/model.onnx"),
  });
  cpSync(bundle, join(FOLDER, "bundle"), { recursive: true });
}
