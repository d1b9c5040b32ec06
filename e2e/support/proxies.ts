// nginx and Caddy with the configurations that docs/serve.md shows.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { findPackage, startProgram } from "./debian.ts";
import type { DebianServer } from "./debian.ts";
import { freePort } from "./free-port.ts";
import { ROOT } from "./prepare.ts";

/** Name of a proxy. */
export type ProxyName = "nginx" | "caddy";

const CACHE = join(ROOT, "e2e/.cache/proxies");
const PROGRAMS = { nginx: "usr/sbin/nginx", caddy: "usr/bin/caddy" } as const;
/** How the configuration of each begins in docs/serve.md, behind its fence. */
const BEGINNINGS = { nginx: "map $http_origin", caddy: "infer.example {" } as const;

/** Starts a proxy in front of a server, for pages of one origin. */
export async function startProxy(name: ProxyName, upstream: string, origin: string): Promise<DebianServer> {
  const program = join(await findPackage(name, PROGRAMS[name]), PROGRAMS[name]);
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
  return startProgram(program, words, port, { HOME: folder });
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
