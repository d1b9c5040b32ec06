// Folders of the matrix: the packed package, installed packages by the hash of their names and versions (kept in
// e2e/.cache/apps), and a fresh folder per app outside this repository, so that an app finds nothing of ours by
// accident.
import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync } from "node:fs";
import { readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { TEMPLATES, writeTemplate } from "../../lib/cli/templates.ts";
import { ROOT } from "../support/prepare.ts";
import type { Row } from "./row.ts";

const PREFIX = "selvedge-apps-";
const CACHE = join(ROOT, "e2e/.cache/apps");
/** Clients that install a whole app by themselves: package, its script, and words that run no scripts. */
const CLIENTS = {
  pnpm: {
    packages: { pnpm: "10.34.8" },
    script: "pnpm/bin/pnpm.cjs",
    words: "install --ignore-scripts --prefer-offline --no-frozen-lockfile",
  },
  "yarn-1": {
    packages: { yarn: "1.22.22" },
    script: "yarn/bin/yarn.js",
    // A cache of the app's own: yarn 1 may take the package of before, of the same name and version, from a shared one.
    words: "install --ignore-scripts --non-interactive --no-lockfile --cache-folder .yarn-cache",
  },
  "yarn-pnp": {
    packages: { "@yarnpkg/cli-dist": "4.18.1" },
    script: "@yarnpkg/cli-dist/bin/yarn.js",
    words: "install --mode=skip-build",
  },
};

/** Settings of tools: no colour, no questions, no telemetry. */
const QUIET = {
  CI: "1",
  NO_COLOR: "1",
  NEXT_TELEMETRY_DISABLED: "1",
  NUXT_TELEMETRY_DISABLED: "1",
  ASTRO_TELEMETRY_DISABLED: "1",
  NG_CLI_ANALYTICS: "false",
  YARN_ENABLE_TELEMETRY: "0",
  YARN_ENABLE_IMMUTABLE_INSTALLS: "0",
};

/** Returns the environment of an app's commands, which find the app's own tools first. */
export function environment(app: string): NodeJS.ProcessEnv {
  const own = Object.entries(process.env).filter(
    ([name]) => !/^npm_|^NODE_OPTIONS$|^NODE_ENV$|^FORCE_COLOR$/.test(name),
  );
  const tools = [app, join(app, "../..")].map((x) => join(x, "node_modules/.bin"));
  const path = [...tools, process.env["PATH"] ?? ""].join(":");
  return { ...Object.fromEntries(own), ...QUIET, PATH: path };
}

/**
 * Runs a command line in a folder.
 * @throws Error with the end of its output
 */
export function runIn(folder: string, command: string, timeoutMs = 300_000): void {
  const { status, signal, stdout, stderr } = spawnSync(command, {
    cwd: folder,
    env: environment(folder),
    shell: true,
    encoding: "utf8",
    timeout: timeoutMs,
    maxBuffer: 1 << 26,
  });
  if (status === 0) return;
  const said = `${stdout}\n${stderr}`.trim().split("\n").slice(-25).join("\n");
  throw new Error(`$ ${command}\n${said}\nended with ${status ?? signal ?? "no status"}`);
}

/** Packs dist/ as npm would publish it; again only when a file of it has changed. */
export function packed(): string {
  const files = readdirSync(join(ROOT, "dist"), { recursive: true, encoding: "utf8" }).map((x) =>
    join(ROOT, "dist", x),
  );
  const hash = createHash("sha256").update(readFileSync(join(ROOT, "package.json")));
  for (const file of files.sort()) {
    const { size, mtimeMs } = statSync(file);
    hash.update(`${file} ${size} ${mtimeMs}\n`);
  }
  const at = join(CACHE, "packed", `${hash.digest("hex").slice(0, 16)}.tgz`);
  if (existsSync(at)) return at;
  mkdirSync(dirname(at), { recursive: true });
  for (const name of readdirSync(dirname(at)))
    if (name !== basename(at)) rmSync(join(dirname(at), name), { force: true });
  // In a folder of its own: two workers of the tests may pack at once.
  const cwd = mkdtempSync(join(CACHE, "packing-"));
  const [pack] = JSON.parse(
    execFileSync("npm", ["pack", ROOT, "--json", "--ignore-scripts"], { cwd, encoding: "utf8" }),
  ) as [{ filename: string }];
  renameSync(join(cwd, pack.filename), at);
  rmSync(cwd, { recursive: true });
  return at;
}

/** Creates the app of a row in a new folder, with its packages and the packed package installed. */
export async function makeApp(row: Row): Promise<string> {
  const root = join(mkdtempSync(join(tmpdir(), PREFIX)), row.id);
  const app = row.isWorkspace === true ? join(root, "packages/app") : root;
  const tarball = packed();
  await writeTemplate(row.template, app, { selvedge: `file:${tarball}` });
  for (const [path, text] of Object.entries(row.files ?? {})) {
    rmSync(join(app, path), { force: true });
    if (text === null) continue;
    mkdirSync(dirname(join(app, path)), { recursive: true });
    writeFileSync(join(app, path), text);
  }
  for (const [path, from, to] of row.edits ?? []) {
    const text = readFileSync(join(app, path), "utf8");
    if (!text.includes(from)) throw new Error(`${row.id}: ${path} does not have ${from}`);
    writeFileSync(join(app, path), text.replaceAll(from, to));
  }
  setPackages(app, row);
  if (row.install === undefined || row.install === "npm") install(root, row.packages, tarball);
  else installWith(row.install, app);
  if (row.isWorkspace === true)
    writeFileSync(join(root, "package.json"), JSON.stringify({ private: true, workspaces: ["packages/*"] }));
  return app;
}

/** Removes an app that {@link makeApp} made. */
export function removeApp(app: string): void {
  const [, place = ""] = app.slice(tmpdir().length).split("/");
  if (place.startsWith(PREFIX)) rmSync(join(tmpdir(), place), { recursive: true, force: true });
}

/** Puts a row's packages in the place of its template's. */
function setPackages(app: string, row: Row): void {
  const path = join(app, "package.json");
  const json = JSON.parse(readFileSync(path, "utf8")) as { dependencies: Record<string, string> };
  for (const name of Object.keys(TEMPLATES[row.template].dependencies)) Reflect.deleteProperty(json.dependencies, name);
  writeFileSync(path, JSON.stringify({ ...json, dependencies: { ...json.dependencies, ...row.packages } }, null, 2));
}

/** Installs packages by npm, from the cache where the same set was installed before, and unpacks the package beside. */
function install(app: string, packages: Readonly<Record<string, string>>, tarball: string): void {
  const modules = join(app, "node_modules");
  link(join(installed(packages), "node_modules"), modules);
  // The package has no dependencies, so that this is all that npm would do.
  mkdirSync(join(modules, "selvedge"), { recursive: true });
  execFileSync("tar", ["-xzf", tarball, "--strip-components=1", "-C", join(modules, "selvedge")]);
}

/** Returns a folder in which the packages are installed. */
export function installed(packages: Readonly<Record<string, string>>): string {
  const json = JSON.stringify({ private: true, dependencies: packages }, null, 2);
  const at = join(CACHE, createHash("sha256").update(`${process.version} ${json}`).digest("hex").slice(0, 16));
  if (existsSync(join(at, "package.json"))) return at;
  const fresh = mkdtempSync(join(tmpdir(), "selvedge-install-"));
  mkdirSync(join(fresh, "node_modules"));
  writeFileSync(join(fresh, "package.json"), json);
  if (Object.keys(packages).length > 0)
    runIn(fresh, "npm install --ignore-scripts --prefer-offline --no-audit --no-fund --loglevel=error", 600_000);
  mkdirSync(CACHE, { recursive: true });
  // Beside it at first: two workers of the tests may install the same set, and each finds it complete.
  const beside = `${at}.${process.pid}`;
  link(fresh, beside);
  rmSync(fresh, { recursive: true, force: true });
  try {
    renameSync(beside, at);
  } catch (error) {
    rmSync(beside, { recursive: true });
    if (!existsSync(join(at, "package.json"))) throw error;
  }
  return at;
}

/** Copies a folder by hard links, or as it is where the file system has none or another one is below. */
function link(from: string, to: string): void {
  if (spawnSync("cp", ["-al", from, to], { stdio: "ignore" }).status === 0) return;
  rmSync(to, { recursive: true, force: true });
  cpSync(from, to, { recursive: true, verbatimSymlinks: true });
}

/** Installs an app by another client; yarn is copied into the app, as its users do, to run the app's tools. */
function installWith(name: keyof typeof CLIENTS, app: string): void {
  const { packages, script, words } = CLIENTS[name];
  const path = join(installed(packages), "node_modules", script);
  if (name === "yarn-pnp") cpSync(path, join(app, ".yarn/releases/yarn.cjs"), { recursive: true });
  runIn(app, `node ${name === "yarn-pnp" ? ".yarn/releases/yarn.cjs" : path} ${words}`, 600_000);
}
