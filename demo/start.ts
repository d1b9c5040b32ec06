// `npm start`: builds the package if it is missing or older than its sources, and the bundles that are (models/build.ts
// looks at each: the package's build makes one of them for its templates), builds the site, and serves it. For work on
// the site itself, `npx vite` serves it from its sources.
import { spawn } from "node:child_process";
import { readdirSync, statSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build, preview } from "vite";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const HOST = "127.0.0.1";
const port = Number(process.env["PORT"] ?? 5173);

try {
  await start();
} catch (error) {
  process.stderr.write(`npm start: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}

async function start(): Promise<void> {
  if (!Number.isInteger(port) || port < 1 || port > 65_535)
    throw new Error(`PORT is "${process.env["PORT"] ?? ""}"; it must be a whole number from 1 to 65535.`);
  await assertFree(port);
  if (newest(join(ROOT, "dist/index.js")) < newest(join(ROOT, "lib"))) await run("the package", "build");
  await run("the models' bundles", "models");
  say("Building the site …");
  const configFile = join(ROOT, "vite.config.ts");
  await build({ configFile, logLevel: "warn" });
  const server = await preview({ configFile, logLevel: "warn" });
  say(`Selvedge is served at ${server.resolvedUrls?.local[0] ?? `http://${HOST}:${port}/`}`);
}

/** Runs a script of package.json. */
async function run(what: string, script: string): Promise<void> {
  say(`Building ${what} (npm run ${script}) …`);
  await new Promise<void>((resolve, reject) => {
    const child = spawn("npm", ["run", "--silent", script], { cwd: ROOT, stdio: "inherit" });
    child.once("error", reject);
    child.once("exit", (code, signal) => {
      if (code === 0) resolve();
      else reject(new Error(`npm run ${script} ended with ${String(code ?? signal)}.`));
    });
  });
}

/** Modification time of the newest file at or below a path, except tests; 0 without one. */
function newest(path: string): number {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return 0;
  if (!stat.isDirectory()) return stat.mtimeMs;
  const inside = readdirSync(path).filter((name) => name !== "dist" && !name.endsWith(".test.ts"));
  return Math.max(0, ...inside.map((name) => newest(join(path, name))));
}

async function assertFree(port: number): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const probe = createServer();
    probe.once("error", () => {
      reject(
        new Error(`Port ${port} can't be used: it is taken, or needs privileges. Choose another: PORT=8080 npm start`),
      );
    });
    probe.listen(port, HOST, () => {
      probe.close(() => {
        resolve();
      });
    });
  });
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
