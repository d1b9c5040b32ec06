// Files that are copied to where the page asks for them.
import type { Bundler, Change, Stack } from "../evidence.ts";
import { pathOf } from "../urls.ts";
import type { Line } from "./host-rules.ts";

/** Folders whose files a bundler copies to the output as they are. */
const PUBLIC: Readonly<Partial<Record<Bundler, string>>> = {
  vite: "public",
  next: "public",
  nuxt: "public",
  astro: "public",
  sveltekit: "static",
  angular: "public",
};

/** The package, as the app has it. */
const PACKAGE = "node_modules/selvedge/dist";

/** Workers and binaries of the package. Without braces, which `sh` does not expand. */
const PACKAGE_FILES = `${PACKAGE}/worker-*.js ${PACKAGE}/*.wasm`;

/** Returns where to copy files so that the page finds them; for a bundler, beside its output. */
export function copyFix({ files, to }: Change & { kind: "copy" }, { bundler }: Stack, page: string): Line {
  const folder = bundler === null ? undefined : PUBLIC[bundler];
  const isPackage = files.every((x) => !x.startsWith("/"));
  const modules = files.filter((x) => !x.includes("*")).map((x) => `${PACKAGE}/${x} `);
  if (!isPackage)
    return {
      where: "where the site is deployed",
      line: `deploy ${files.join(", ")}${folder === undefined ? "" : `  (a file in ${folder}/ is served at /)`}`,
    };
  if (bundler === "angular")
    return {
      where: 'angular.json, "assets", and createEngine({ assetsBase: "selvedge/" })',
      line: `{ "glob": "{worker-*.js,*.wasm}", "input": "${PACKAGE}", "output": "selvedge" }`,
    };
  const isBundled = bundler !== null && !["rollup", "esbuild", "importmap"].includes(bundler);
  if (isBundled) {
    // webpack, Rspack and Parcel copy no folder by themselves: the files go into their output.
    const own = `${folder ?? "dist"}/selvedge/`;
    const base = `${baseOf(page, to)}selvedge/`;
    return {
      where: `the output of ${bundler}, and what is deployed of it`,
      line: `deploy ${to === "/" ? "the output folder" : to} with its workers and binaries; or${folder === undefined ? ", after each build," : ""} ${copyTo(own)} and createEngine({ assetsBase: "${base}" })`,
    };
  }
  const base = baseOf(page, to);
  const at = (folder: string): string =>
    base === "/" ? `<${folder} folder>${to}` : `<folder that is served at ${base}>/${to.slice(base.length)}`;
  // A site with an import map may have no build at all.
  return bundler === "importmap"
    ? { where: "the site's folder", line: copyTo(at("site"), modules) }
    : { where: "after the build", line: copyTo(at("output"), modules) };
}

/** Returns the folder in which both the page and a path are: where a site lies below a path, what it is served at. */
function baseOf(page: string, to: string): string {
  const [own, parts] = [pathOf(page).split("/").slice(1), to.split("/").slice(1, -1)];
  const differs = parts.findIndex((x, i) => x !== own[i]);
  return `/${parts
    .slice(0, differs === -1 ? parts.length : differs)
    .map((x) => `${x}/`)
    .join("")}`;
}

/** Writes the command that copies the package's workers and binaries, and modules of it, into a folder. */
export function copyTo(folder: string, modules: readonly string[] = []): string {
  return `mkdir -p ${folder} && cp ${modules.join("")}${PACKAGE_FILES} ${folder}`;
}
