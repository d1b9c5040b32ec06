// The apps that `selvedge init` writes: their packages, their commands, and where they keep public files. The files are
// in templates/<name>/; templates/shared/ and the model are the same for each. The matrix of apps (e2e/apps) builds
// and opens every one of them.
import { existsSync, lstatSync, statSync } from "node:fs";
import { mkdir, open, readdir, readFile, rm, rmdir } from "node:fs/promises";
import { basename, dirname, join, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { makeFolder } from "../compress/onnx/make-folder.ts";
import { RELEASE } from "../core/version.ts";

/** Description of an app that `selvedge init` writes. */
export interface Template {
  /** Description for a list. */
  readonly summary: string;
  /** Folder of files that are served as they are, relative to the app. */
  readonly publicFolder: string;
  /** Packages beside selvedge, with exact versions. */
  readonly dependencies: Readonly<Record<string, string>>;
  readonly scripts: Readonly<Record<string, string>>;
  /** Pattern of what its commands write, for Git. */
  readonly outputPattern: string;
  /** Next step after `npm run dev`. */
  readonly open: string;
}

/** Copies the files that a browser takes of the package, for apps without a bundler. */
const COPY = "node copy-selvedge.js";
const VITE = { dev: "vite", build: "vite build", preview: "vite preview" };

/** Apps by name. */
export const TEMPLATES = {
  vanilla: {
    summary: "a page without a framework, built by Vite",
    publicFolder: "public",
    dependencies: { vite: "8.3.8" },
    scripts: VITE,
    outputPattern: "/dist/",
    open: "open the address that it prints",
  },
  react: {
    summary: "React, built by Vite",
    publicFolder: "public",
    dependencies: { react: "19.3.1", "react-dom": "19.3.1", vite: "8.3.8" },
    scripts: VITE,
    outputPattern: "/dist/",
    open: "open the address that it prints",
  },
  next: {
    summary: "Next.js, app router",
    publicFolder: "public",
    dependencies: { next: "16.4.6", react: "19.3.1", "react-dom": "19.3.1" },
    scripts: { dev: "next dev", build: "next build", start: "next start" },
    outputPattern: "/.next/",
    open: "open the address that it prints",
  },
  static: {
    summary: "static files and an import map, no build",
    publicFolder: ".",
    dependencies: { "http-server": "14.1.1" },
    scripts: { copy: COPY, dev: "npm run copy && http-server . -c-1" },
    outputPattern: "/selvedge/",
    open: "open the address that it prints",
  },
  extension: {
    summary: "a browser extension (Manifest V3), no build",
    publicFolder: ".",
    dependencies: {},
    scripts: { copy: COPY, dev: "npm run copy" },
    outputPattern: "/selvedge/",
    open: 'at chrome://extensions, "Load unpacked" this folder, and click its icon',
  },
} satisfies Readonly<Record<string, Template>>;

/** Name of a template. */
export type TemplateName = keyof typeof TEMPLATES;

/** Lists the names of templates. */
export const TEMPLATE_NAMES = Object.keys(TEMPLATES) as readonly TemplateName[];

/** Options of {@link writeTemplate}. */
export interface WriteOptions {
  /** Writes over files that exist; by default nothing is written if one of them does. */
  readonly force?: boolean;
  /** Version or address of the package in the app's package.json; a caret range of this release by default. */
  readonly selvedge?: string;
  /** Folder of the bundle that the app loads; by default that of the package. */
  readonly model?: string;
}

/** A file to copy, with its place below the folder that is written. */
interface CopiedFile {
  readonly from: string;
  readonly to: string;
}

/**
 * Writes an app into a folder, which it creates.
 * @returns the files that it wrote, relative to the folder
 * @throws Error that names the files that exist already, without `force`; with it, what is a folder in place of a file, or
 * a file in place of a folder. Nothing is written then. An error of the file system takes back what is new.
 */
export async function writeTemplate(name: TemplateName, folder: string, options: WriteOptions = {}): Promise<string[]> {
  const template: Template = TEMPLATES[name];
  const { selvedge = `^${RELEASE.split(" ")[0] ?? ""}`, model = modelFolder() } = options;
  const copied = [
    ...(await filesOf(join(templatesFolder(), name), ".")),
    ...(await filesOf(join(templatesFolder(), "shared"), template.publicFolder)),
    ...(await filesOf(model, join(template.publicFolder, "models/ocr-rec"))),
  ];
  const text = new Map([
    ["package.json", packageJson(basename(resolve(folder)), template, selvedge)],
    [".gitignore", `node_modules/\n${template.outputPattern}\n`],
  ]);
  return write(folder, copied, text, options);
}

/**
 * Writes the model and a picture that it reads alone, for an app that exists.
 * @param folder - of the app's public files
 * @returns and throws as {@link writeTemplate}
 */
export async function writeModel(folder: string, options: WriteOptions = {}): Promise<string[]> {
  const picture = { from: join(templatesFolder(), "shared/sample.png"), to: "sample.png" };
  const model = await filesOf(options.model ?? modelFolder(), join("models", "ocr-rec"));
  return write(folder, [picture, ...model], new Map(), options);
}

/** Writes all files, or none; with `force`, what was written over stays so where a later file can't be written. */
async function write(
  folder: string,
  copied: readonly CopiedFile[],
  text: ReadonlyMap<string, string>,
  { force = false }: WriteOptions,
): Promise<string[]> {
  const written = [...text.keys(), ...copied.map(({ to }) => to)];
  const present = written.filter((to) => existsSync(join(folder, to)));
  if (present.length > 0 && !force) {
    // Chunks are named by a hash, which tells a reader nothing: their folder stands for them.
    const names = [...new Set(present.map((x) => (basename(dirname(x)) === "chunks" ? dirname(x) : x)))];
    const exist = `${names.slice(0, 5).join(", ")} ${names.length === 1 ? "exists" : "exist"} in ${folder}`;
    const isApp = text.has("package.json");
    const other = "Choose an empty folder; into an app that exists, --model-only writes the model alone. ";
    throw new Error(`${exist}; nothing was written. ${isApp ? other : ""}--force overwrites.`);
  }
  const blocked = written.map((to) => inTheWay(folder, to)).find((x) => x !== undefined);
  if (blocked !== undefined)
    throw new Error(`${blocked} in ${folder}; nothing was written. Move it away, or choose another folder.`);
  const undo: (() => Promise<void>)[] = [];
  const make = async (path: string): Promise<void> => {
    await mkdir(path);
    undo.unshift(() => rmdir(path));
  };
  // Written and not copied: an error then names the app's file, and a package that is read-only gives files to edit.
  const put = async (to: string, content: Uint8Array | string): Promise<void> => {
    const path = join(folder, to);
    await makeFolder(join(path, ".."), make);
    const file = await open(path, force ? "w" : "wx");
    if (!force) undo.unshift(() => rm(path));
    await file.writeFile(content).finally(() => file.close());
  };
  try {
    for (const { from, to } of copied) await put(to, await readFile(from));
    for (const [to, content] of text) await put(to, content);
  } catch (error) {
    // A folder that is not empty stays.
    for (const step of undo) await step().catch(() => undefined);
    throw error;
  }
  return written.sort();
}

function templatesFolder(): string {
  return fileURLToPath(new URL("./templates/", import.meta.url));
}

/**
 * Describes what `--force` can't write a file over: a folder of its name, a file where one of its folders goes, or a
 * link whose target is missing.
 */
function inTheWay(folder: string, file: string): string | undefined {
  const parts = file.split(sep);
  for (let count = 1; count <= parts.length; count++) {
    const path = join(...parts.slice(0, count));
    if (!existsSync(join(folder, path))) return isLink(join(folder, path)) ? `${path} is a broken link` : undefined;
    const isFile = count === parts.length;
    if (statSync(join(folder, path)).isDirectory() === isFile) return `${path} is a ${isFile ? "folder" : "file"}`;
  }
  return undefined;
}

function isLink(path: string): boolean {
  try {
    return lstatSync(path).isSymbolicLink();
  } catch {
    return false;
  }
}

/** Returns the files below a folder, each with its place in the app. */
async function filesOf(folder: string, to: string): Promise<CopiedFile[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((x) => x.isFile())
    .map((x) => join(x.parentPath, x.name))
    .map((from) => ({ from, to: join(to, from.slice(folder.length)) }));
}

/** Returns the folder of the text recogniser that ships: beside the built command line, or in a checkout's dist/. */
function modelFolder(): string {
  const places = ["./templates/models/ocr-rec", "../../dist/templates/models/ocr-rec"];
  const found = places.map((x) => fileURLToPath(new URL(x, import.meta.url))).find((x) => existsSync(x));
  if (found === undefined) throw new Error("the model of the templates is not built: npm run build");
  return found;
}

function packageJson(name: string, { dependencies, scripts }: Template, selvedge: string): string {
  const content = {
    // npm allows no capitals, blanks or a leading dot in a name.
    name:
      name
        .toLowerCase()
        .replaceAll(/[^a-z0-9-]+/g, "-")
        .replaceAll(/^-+|-+$/g, "") || "app",
    private: true,
    type: "module",
    scripts,
    dependencies: { selvedge, ...dependencies },
  };
  return `${JSON.stringify(content, null, 2)}\n`;
}
