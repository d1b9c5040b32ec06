// The declarations of the package, by API Extractor: one bundled .d.ts per entry, so that a consumer compiles them with
// `skipLibCheck: false` and nothing internal can be imported, and a report of the public API in docs/api/, which stands
// under review. The package test fails where a report differs; `npm run build -- --accept-api` takes the new one.
//
// An entry that imports the package by its name keeps that import in its declarations: an `Engine` is the same type
// whichever entry it comes from.
import { Extractor, ExtractorConfig, ExtractorLogLevel } from "@microsoft/api-extractor";
import { copyFileSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { readEntries } from "./entries.ts";
import type { BuildEntry } from "./entries.ts";

/** Where reports of this build lie, relative to the repository. */
export const REPORTS = "node_modules/.cache/selvedge/api";

/** Returns the name of an entry's report. */
export function reportOf({ name }: Pick<BuildEntry, "name">): string {
  return `selvedge${name === "" ? "" : `-${name}`}.api.md`;
}

/**
 * Bundles the declarations in a built folder, removes those that they were made of, and writes the reports.
 * @throws Error for declarations that API Extractor refuses
 */
export function bundleDeclarations(root: string, dist: string, isAccepted: boolean): void {
  const reports = join(root, REPORTS);
  mkdirSync(join(reports, "temp"), { recursive: true });
  const entries = readEntries(root);
  const bundled = entries.map((entry) => {
    const path = join(reports, `${entry.types}.d.ts`);
    const types = entry.isNode ? ["node"] : [];
    extract({ root, entry: join(dist, `${entry.source}.d.ts`), report: reportOf(entry), types, reports, path });
    return { to: entry.types, path };
  });
  for (const file of readdirSync(dist, { recursive: true, encoding: "utf8" }))
    if (file.endsWith(".d.ts")) rmSync(join(dist, file));
  for (const { to, path } of bundled) copyFileSync(path, join(dist, `${to}.d.ts`));
  if (!isAccepted) return;
  for (const entry of entries) copyFileSync(join(reports, reportOf(entry)), join(root, "docs/api", reportOf(entry)));
}

interface Extraction {
  readonly root: string;
  /** Path of an entry's declarations. */
  readonly entry: string;
  /** Name of the report of its API. */
  readonly report: string;
  /** Packages of types that it needs. */
  readonly types: string[];
  readonly reports: string;
  /** Path of the bundled declarations. */
  readonly path: string;
}

function extract({ root, entry, report, types, reports, path }: Extraction): void {
  const compilerOptions = {
    ...{ target: "ES2022", module: "ESNext", moduleResolution: "bundler", strict: true, skipLibCheck: true, types },
    lib: ["ES2022", "ESNext.Disposable", "DOM", "DOM.Iterable", "DOM.AsyncIterable"],
    // The main entry is the first one. Its path has a node_modules in it, so API Extractor takes it as another package.
    paths: { selvedge: [join(reports, "index.d.ts")] },
  };
  const none = { logLevel: ExtractorLogLevel.None };
  const error = { logLevel: ExtractorLogLevel.Error };
  const configObject = {
    projectFolder: root,
    mainEntryPointFilePath: entry,
    compiler: { overrideTsconfig: { compilerOptions, files: [entry] } },
    apiReport: {
      ...{ enabled: true, reportFolder: reports, reportTempFolder: join(reports, "temp") },
      reportFileName: report,
    },
    docModel: { enabled: false },
    dtsRollup: { enabled: true, untrimmedFilePath: path },
    tsdocMetadata: { enabled: false },
    messages: {
      compilerMessageReporting: { default: error },
      // Members without a docblock stand in the report as such; types that only other types name are not exported.
      extractorMessageReporting: {
        default: error,
        "ae-missing-release-tag": none,
        "ae-forgotten-export": none,
        "ae-undocumented": none,
      },
      tsdocMessageReporting: { default: none },
    },
  };
  const config = ExtractorConfig.prepare({
    configObject,
    configObjectFullPath: undefined,
    packageJsonFullPath: join(root, "package.json"),
  });
  const { succeeded } = Extractor.invoke(config, {
    localBuild: true,
    messageCallback: (message) => {
      // It names its own TypeScript and each report that changed.
      if (message.logLevel === ExtractorLogLevel.Info || message.logLevel === ExtractorLogLevel.Warning)
        message.handled = true;
    },
  });
  if (!succeeded) throw new Error(`API Extractor refuses ${entry}`);
}
