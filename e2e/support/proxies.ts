// nginx and Caddy with the configurations that docs/serve.md shows: the installed programs, else those of Debian's packages,
// unpacked into e2e/.cache without root. Nothing is installed, no service starts, and the lists of apt are its own ones.
import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort } from "./engines.ts";
import { withLock } from "./lock.ts";
import { ROOT } from "./prepare.ts";
import { watchProcess } from "./serve-process.ts";

/** Name of a proxy. */
export type ProxyName = "nginx" | "caddy";

/** A running proxy. */
export interface Proxy {
  readonly url: string;
  stop(): Promise<void>;
}

const CACHE = join(ROOT, "e2e/.cache/proxies");
const PROGRAMS = { nginx: "usr/sbin/nginx", caddy: "usr/bin/caddy" } as const;
/** How the configuration of each begins in docs/serve.md, behind its fence. */
const BEGINNINGS = { nginx: "map $http_origin", caddy: "infer.example {" } as const;

/** Starts a proxy in front of a server, for pages of one origin. */
export async function startProxy(name: ProxyName, upstream: string, origin: string): Promise<Proxy> {
  const program = await findProgram(name);
  const folder = join(CACHE, `${name}-files`);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const port = await freePort();
  const path = join(folder, "config");
  writeFileSync(path, configOf(name, folder, { port, origin, upstream: new URL(upstream).host }));
  const words = {
    nginx: ["-e", "stderr", "-p", folder, "-c", path],
    caddy: ["run", "--adapter", "caddyfile", "--config", path],
  }[name];
  // Caddy keeps its state in the home folder.
  const child = spawn(program, words, { env: { ...process.env, HOME: folder }, stdio: ["ignore", "pipe", "pipe"] });
  const { said, stop } = watchProcess(child);
  for (let tries = 0; tries < 100 && child.exitCode === null; tries += 1) {
    if (await accepts(port)) return { url: `http://127.0.0.1:${port}`, stop };
    await sleep(100);
  }
  await stop();
  throw new Error(`${name} did not start: ${said()}`);
}

/** Returns the path of the program: the installed one, else that of Debian's package. */
async function findProgram(name: ProxyName): Promise<string> {
  const installed = `/${PROGRAMS[name]}`;
  if (existsSync(installed)) return installed;
  const folder = join(CACHE, name);
  const program = join(folder, PROGRAMS[name]);
  if (existsSync(program)) return program;
  if (process.env["SELVEDGE_INSTALL"] === "0")
    throw new Error(`${installed} is missing, and SELVEDGE_INSTALL=0 downloads nothing: apt-get install ${name}`);
  mkdirSync(CACHE, { recursive: true });
  await withLock(`${folder}.lock`, () => {
    if (existsSync(program)) return;
    const aside = `${folder}.part`;
    rmSync(aside, { recursive: true, force: true });
    unpack(name, aside);
    if (!existsSync(join(aside, PROGRAMS[name])))
      throw new Error(`the package ${name} of this system has no ${installed}: install the program`);
    rmSync(folder, { recursive: true, force: true });
    renameSync(aside, folder);
  });
  return program;
}

/** Downloads a package of the system's sources and unpacks it into a new folder. */
function unpack(name: string, folder: string): void {
  const apt = join(folder, "apt");
  for (const path of ["lists/partial", "cache/archives/partial"]) mkdirSync(join(apt, path), { recursive: true });
  const run = (file: string, ...args: string[]): void => {
    execFileSync(file, args, { cwd: folder, stdio: ["ignore", "ignore", "pipe"], timeout: 300_000 });
  };
  const own = ["-qq", "-o", `Dir::State::lists=${apt}/lists`, "-o", `Dir::Cache=${apt}/cache`];
  run("apt-get", ...own, "update");
  run("apt-get", ...own, "download", name);
  rmSync(apt, { recursive: true });
  for (const file of readdirSync(folder).filter((x) => x.endsWith(".deb"))) run("dpkg", "-x", file, ".");
}

/** Returns the configuration of the docs, with the addresses of a test. */
function configOf(name: ProxyName, folder: string, to: { port: number; origin: string; upstream: string }): string {
  const docs = readFileSync(join(ROOT, "docs/serve.md"), "utf8");
  const shown = [...docs.matchAll(/```\w+\n([\s\S]*?)```/g)].find(([, code = ""]) => code.startsWith(BEGINNINGS[name]));
  if (shown?.[1] === undefined) throw new Error(`docs/serve.md has no configuration for ${name}`);
  const own = replaceAll(shown[1], [
    ["https://app.example", to.origin],
    ["127.0.0.1:8001", to.upstream],
    name === "nginx"
      ? ["listen 8000;", `listen 127.0.0.1:${to.port};`]
      : ["infer.example {", `http://127.0.0.1:${to.port} {`],
  ]);
  if (name === "caddy") return `{\n  admin off\n}\n${own}`;
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((x) => `${x}_temp_path ${folder}/${x};`);
  const http = ["access_log off;", ...temporary, own].join("\n");
  return `daemon off;\nmaster_process off;\npid ${folder}/pid;\nevents {}\nhttp {\n${http}}\n`;
}

function replaceAll(text: string, pairs: readonly (readonly [string, string])[]): string {
  return pairs.reduce((done, [from, to]) => {
    if (!done.includes(from)) throw new Error(`docs/serve.md: the configuration does not name ${from}`);
    return done.replaceAll(from, to);
  }, text);
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    const end = (isOpen: boolean): void => {
      socket.destroy();
      resolve(isOpen);
    };
    socket.once("connect", () => end(true)).once("error", () => end(false));
  });
}
