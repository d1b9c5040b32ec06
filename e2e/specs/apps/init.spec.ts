// The commands that README gives to a new user, word for word: `npx selvedge init`, `npm install`, `npm run dev`, from an empty
// folder, with npm's own cache empty, from a registry that has the packed package. In the soak alone: npm fetches the
// template's other packages anew.
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { exec, execFileSync } from "node:child_process";
import { expect, test } from "@playwright/test";
import { pathOf, startServer } from "../../../lib/compress/check/local-server.ts";
import { readAt } from "../../apps/open.ts";
import { SAMPLE_TEXT } from "../../apps/row.ts";
import { serveCommand } from "../../apps/serve.ts";
import { environment, packed } from "../../apps/workplace.ts";
import { ROOT } from "../../support/prepare.ts";
import { isSoak } from "../../../lib/test-support/slice.ts";

/** Starts a registry that has the packed package, and redirects for all others. */
async function startRegistry(): Promise<{ readonly url: string; close(): Promise<void> }> {
  const elsewhere = execFileSync("npm", ["config", "get", "registry"], { cwd: tmpdir(), encoding: "utf8" }).trim();
  const tarball = readFileSync(packed());
  const json = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { name: string; version: string };
  const integrity = `sha512-${createHash("sha512").update(tarball).digest("base64")}`;
  const server = await startServer((request, response) => {
    const path = pathOf(request);
    const own = `http://${request.headers.host ?? ""}`;
    const dist = { integrity, tarball: `${own}/selvedge/-/selvedge.tgz` };
    if (path === "/selvedge/-/selvedge.tgz") response.end(tarball);
    else if (path === "/selvedge")
      response.setHeader("Content-Type", "application/json").end(
        JSON.stringify({
          name: "selvedge",
          "dist-tags": { latest: json.version },
          versions: { [json.version]: { ...json, scripts: {}, devDependencies: {}, dist } },
        }),
      );
    else response.writeHead(302, { Location: new URL(`.${request.url ?? ""}`, elsewhere).href }).end();
  });
  return { url: `http://127.0.0.1:${server.port}/`, close: () => server.close() };
}

/** Types a command line in a folder; the registry of this process answers meanwhile. */
async function type(folder: string, command: string, env: NodeJS.ProcessEnv): Promise<void> {
  await promisify(exec)(command, { cwd: folder, env: { ...environment(folder), ...env }, timeout: 600_000 });
}

test.describe("a new user's first commands", { tag: "@chromium" }, () => {
  test.describe.configure({ timeout: 900_000 });
  for (const template of isSoak ? ["vanilla", "react", "static"] : [])
    test(`npx selvedge init my-app --template ${template}, npm install, npm run dev: the picture's text is read`, async ({
      page,
    }) => {
      const folder = mkdtempSync(join(tmpdir(), "selvedge-init-"));
      const registry = await startRegistry();
      const npm = { npm_config_registry: registry.url, npm_config_cache: join(folder, "cache") };
      try {
        await type(folder, `npx --yes selvedge init my-app --template ${template}`, npm);
        const app = join(folder, "my-app");
        await type(app, "npm install", npm);
        const port = template === "static" ? "-p {port}" : "--port {port}";
        const server = await serveCommand(app, `npm run dev -- ${port}`);
        try {
          const { text, errors } = await readAt(page, server.url);
          expect(text, errors.join("\n")).toBe(SAMPLE_TEXT);
        } finally {
          await server.close();
        }
      } finally {
        await registry.close();
        rmSync(folder, { recursive: true, force: true });
      }
    });
});
