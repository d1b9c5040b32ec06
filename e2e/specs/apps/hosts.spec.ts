// A bundle's chunks on five hosts without configuration: the bytes that arrive are those that the bundle has stored,
// and as many (at most 0.1 % more where a host compresses them again, as `serve` does), so that no host answers with a
// page or takes a chunk for a route.
import { readdirSync, readFileSync } from "node:fs";
import { get } from "node:http";
import type { IncomingHttpHeaders } from "node:http";
import { join } from "node:path";
import { brotliDecompressSync } from "node:zlib";
import { expect, test } from "@playwright/test";
import { TEMPLATES } from "../../../lib/cli/templates.ts";
import type { Row } from "../../apps/row.ts";
import { serveCommand } from "../../apps/serve.ts";
import { makeApp, removeApp, runIn } from "../../apps/workplace.ts";
import { sample } from "../../../lib/test-support/slice.ts";

const VANILLA = { needed: "nothing", template: "vanilla", build: ["vite build"] } as const;
const VITE = TEMPLATES.vanilla.dependencies;
const host = (id: string, packages: Row["packages"], command: string): Row => ({
  ...VANILLA,
  id,
  title: id,
  packages: { ...VITE, ...packages },
  serve: { kind: "command", command },
});

const HOSTS: readonly Row[] = [
  host("vite-preview", {}, "vite preview --port {port} --strictPort --host localhost"),
  host("serve-single-page", { serve: "14.2.7" }, "serve -s dist -L -l tcp://localhost:{port}"),
  host("http-server", { "http-server": "14.1.1" }, "http-server dist -p {port} -a localhost"),
  host("python", {}, "python3 -m http.server {port} --directory dist"),
  {
    id: "next-start",
    title: "next start",
    needed: "nothing",
    template: "next",
    packages: TEMPLATES.next.dependencies,
    build: ["next build"],
    serve: { kind: "command", command: "next start -p {port}" },
  },
];

/** Fetches as a browser does, with every encoding allowed, and returns the body as it came over the wire. */
function wireBytes(url: string): Promise<{ status: number | undefined; headers: IncomingHttpHeaders; body: Buffer }> {
  return new Promise((resolve, reject) => {
    get(url, { headers: { "accept-encoding": "gzip, deflate, br, zstd" } }, (response) => {
      const parts: Buffer[] = [];
      response.on("data", (part: Buffer) => parts.push(part));
      response.on("error", reject);
      response.on("end", () =>
        resolve({ status: response.statusCode, headers: response.headers, body: Buffer.concat(parts) }),
      );
    }).on("error", reject);
  });
}

test.describe.configure({ timeout: 600_000 });
for (const row of sample(HOSTS, 3))
  test(`${row.id} sends each chunk of a bundle as it is stored @chromium`, async () => {
    const app = await makeApp(row);
    try {
      for (const command of row.build ?? []) runIn(app, command);
      if (row.serve.kind !== "command") throw new Error(`${row.id} is no command`);
      const server = await serveCommand(app, row.serve.command);
      try {
        const chunks = join(app, "public/models/ocr-rec/chunks");
        const names = readdirSync(chunks);
        expect(names.length).toBeGreaterThan(3);
        for (const name of names) {
          const { status, headers, body } = await wireBytes(`${server.url}models/ocr-rec/chunks/${name}`);
          const stored = readFileSync(join(chunks, name));
          expect(status, name).toBe(200);
          // `serve` compresses again what is compressed already.
          const isEncoded = headers["content-encoding"] === "br";
          expect((isEncoded ? brotliDecompressSync(body) : body).equals(stored), name).toBe(true);
          if (isEncoded) expect(body.byteLength, name).toBeLessThan(stored.byteLength * 1.001 + 64);
          else expect(headers["content-encoding"], name).toBeUndefined();
        }
      } finally {
        await server.close();
      }
    } finally {
      removeApp(app);
    }
  });
