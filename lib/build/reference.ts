// The API reference, by TypeDoc, as Markdown: one page an entry, from the docblocks. It ships with the package, so that
// it is at hand offline and to tools that read node_modules.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { Application, LogLevel } from "typedoc";
import type { TypeDocOptions } from "typedoc";
import { anchorsOf } from "./anchors.ts";
import { readEntries } from "./entries.ts";

/** Kinds of symbols that must have a docblock; members of interfaces are API Extractor's to check (`(undocumented)` in docs/api). */
const DOCUMENTED = ["Class", "Function", "Interface", "TypeAlias", "Variable"] as const;

/** Types that signatures name and callers do not: values behind unions, messages of ONNX, parts of a trace's file. */
const INTERNAL = [
  "Global",
  "PRIORITIES",
  "WHY_CODES",
  "Unknown",
  "Written",
  "Json",
  "Graph",
  "Read",
  "Producer",
  "NodeProto",
  "TensorProto",
] as const;

/** Options of typedoc-plugin-markdown. */
const MARKDOWN = {
  outputFileStrategy: "modules",
  entryFileName: "README",
  hideBreadcrumbs: true,
  hidePageHeader: true,
  hideGroupHeadings: true,
  useCodeBlocks: false,
  parametersFormat: "table",
  interfacePropertiesFormat: "table",
  classPropertiesFormat: "table",
  typeDeclarationFormat: "table",
  propertyMembersFormat: "table",
};

/** Members of mapped types, which can't have a docblock of their own: those of their classes tell of `using`. */
const OF_BASES = ["Engine.[asyncDispose]", "Model.[dispose]", "Stateful.[dispose]"].map((x) => `selvedge.${x}`);

/**
 * Writes the reference of all entries; the folder is emptied first.
 * @throws Error for each warning: an exported symbol without a docblock, a type that is named and not exported, a link to
 * nothing
 */
export async function writeReference(root: string, folder: string): Promise<void> {
  const entries = readEntries(root);
  const options: TypeDocOptions = {
    entryPoints: entries.map((x) => join(root, "lib", `${x.source}.ts`)),
    tsconfig: join(root, "tsconfig.json"),
    plugin: ["typedoc-plugin-markdown"],
    name: "selvedge",
    readme: "none",
    // The compiler's own run checks the types.
    skipErrorChecking: true,
    excludeInternal: true,
    excludePrivate: true,
    excludeExternals: true,
    disableSources: true,
    disableGit: true,
    requiredToBeDocumented: [...DOCUMENTED],
    intentionallyNotDocumented: [...OF_BASES],
    intentionallyNotExported: [...INTERNAL],
    validation: { notExported: true, invalidLink: true, notDocumented: true, invalidPath: true, rewrittenLink: true },
    logLevel: LogLevel.Warn,
    outputs: [{ name: "markdown", path: folder }],
    ...MARKDOWN,
  };
  const app = await Application.bootstrapWithPlugins(options);
  const project = await app.convert();
  if (project === undefined) throw new Error("TypeDoc could not read the entries");
  for (const module of project.children ?? []) {
    const entry = entries.find((x) => x.source.replace(/\/index$/, "") === module.name);
    if (entry !== undefined) module.name = entry.name === "" ? "selvedge" : `selvedge/${entry.name}`;
  }
  app.validate(project);
  await app.generateOutputs(project);
  if (app.logger.hasErrors() || app.logger.hasWarnings()) throw new Error("TypeDoc has warnings: see above");
  for (const file of readdirSync(folder, { recursive: true, encoding: "utf8" }))
    if (file.endsWith(".md")) mendAnchors(join(folder, file));
}

/**
 * Mends links to headings: the plugin counts `Engine.stats` and `EngineStats` as one name and links to the second as
 * "enginestats-1", which GitHub does not.
 */
function mendAnchors(path: string): void {
  const text = readFileSync(path, "utf8");
  const mended = text.replaceAll(/\]\(([^)#\s]*)#([\w-]+)-1\)/g, (link, to: string, name: string) => {
    const anchors = anchorsOf(to === "" ? text : readFileSync(resolve(dirname(path), to), "utf8"));
    return !anchors.has(`${name}-1`) && anchors.has(name) ? `](${to}#${name})` : link;
  });
  writeFileSync(path, mended);
}
