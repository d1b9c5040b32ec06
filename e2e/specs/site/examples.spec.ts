// The pages of demo/examples, on repositories from a local hub: what a visitor does, and what the page then shows. The
// repositories are not trained for their tasks, so these pages are no part of the site.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "@playwright/test";
import type { Page } from "@playwright/test";
import { build } from "esbuild";
import { HubServer } from "../../../lib/test-support/hub-server.ts";
import type { RepoFiles } from "../../../lib/test-support/hub-server.ts";
import { logMel } from "../../../lib/worker/processing/log-mel.ts";
import { serveFaulty } from "../../support/faulty-server.ts";
import type { FaultyServer } from "../../support/faulty-server.ts";
import * as repositories from "../../support/hub-models.ts";
import { ROOT } from "../../support/prepare.ts";

const FOLDER = join(ROOT, "demo/examples");
const LINES_MAX = 60;

let hub: HubServer;
let server: FaultyServer;

test.beforeAll(async () => {
  hub = await HubServer.start();
  server = await serveFaulty();
});

test.afterAll(async () => {
  hub.close();
  await server.close();
});

/** Opens the page of an example on a repository, and waits until it has loaded. */
async function open(page: Page, example: string, files: RepoFiles): Promise<void> {
  const { outputFiles } = await build({
    entryPoints: [join(FOLDER, `${example}.ts`)],
    ...{ bundle: true, write: false, format: "esm", platform: "browser", target: "es2022", logLevel: "error" },
    plugins: [
      {
        name: "served",
        setup(own) {
          own.onResolve({ filter: /^selvedge$/ }, () => ({ path: "/dist/index.js", external: true }));
          own.onResolve({ filter: /^selvedge\/ai-sdk$/ }, () => ({ path: "/dist/bindings/ai-sdk.js", external: true }));
        },
      },
    ],
  });
  const bodies: Readonly<Record<string, readonly [type: string, body: string]>> = {
    [`/${example}`]: [
      "text/html",
      `<!doctype html><title>${example}</title><body></body><script type="module" src="/${example}.js"></script>`,
    ],
    [`/${example}.js`]: ["text/javascript", outputFiles[0]?.text ?? ""],
  };
  server.use((path) => {
    const [type, body] = bodies[path] ?? [];
    return type === undefined || body === undefined
      ? undefined
      : { status: 200, headers: { "content-type": type }, body };
  });
  hub.commit(`owner/${example}`, files);
  await page.goto(`${server.origin}/${example}?repo=owner/${example}&host=${encodeURIComponent(hub.url)}`);
  await expect(page.locator("output")).toContainText("fp32 on", { timeout: 60_000 });
}

/** A picture of one colour at the left and another at the right, as a PNG file. */
function picture(page: Page, left: string, right: string): Promise<{ name: string; mimeType: string; buffer: Buffer }> {
  return page
    .evaluate(
      async ([left, right]) => {
        const canvas = new OffscreenCanvas(40, 20);
        const context = canvas.getContext("2d");
        if (context === null) throw new Error("no canvas");
        context.fillStyle = left ?? "";
        context.fillRect(0, 0, 20, 20);
        context.fillStyle = right ?? "";
        context.fillRect(20, 0, 20, 20);
        return Array.from(new Uint8Array(await (await canvas.convertToBlob()).arrayBuffer()));
      },
      [left, right],
    )
    .then((bytes) => ({ name: "picture.png", mimeType: "image/png", buffer: Buffer.from(bytes) }));
}

const lines = (page: Page): Promise<string[]> => page.locator("li").allTextContents();

test("each example is one page of at most 60 lines, and tested here @chromium", () => {
  const names = readdirSync(FOLDER).sort();
  expect(names).toEqual(
    ["classify-image", "classify-text", "detect", "embed", "encode-sound", "rerank", "segment"].map((x) => `${x}.ts`),
  );
  for (const name of names) {
    const count = readFileSync(join(FOLDER, name), "utf8").trimEnd().split("\n").length;
    expect(count, name).toBeLessThanOrEqual(LINES_MAX);
  }
});

test("embed: texts sorted by meaning", async ({ page }) => {
  await open(page, "embed", repositories.encoderRepository());
  await page.fill("textarea", "bad bad film\ndog\n\ngood film");
  await page.fill("input", "dog");
  await page.click("button");
  await expect(page.locator("li")).toHaveCount(3);
  const found = await lines(page);
  expect(found[0]).toBe("1.000 dog");
  const scores = found.map((x) => Number(x.split(" ")[0]));
  expect(scores).toEqual([...scores].sort((a, b) => b - a));
});

test("rerank: answers sorted by a cross-encoder", async ({ page }) => {
  await open(page, "rerank", repositories.crossEncoderRepository());
  await page.fill("input", "film");
  await page.fill("textarea", "bad film\ngood film\ndog");
  await page.click("button");
  const score = (x: number): string => (1 / (1 + Math.exp(-x))).toFixed(3);
  await expect(page.locator("li")).toHaveText([`${score(2)} good film`, `${score(-0.5)} dog`, `${score(-2)} bad film`]);
});

test("classify-text: a label while typing", async ({ page }) => {
  await open(page, "classify-text", repositories.textRepository());
  await page.fill("textarea", "Good film");
  await expect(page.locator("li")).toHaveCount(3);
  const [best = ""] = await lines(page);
  const totals = [0, 1, 2].map((column) =>
    [2, 4, 6, 3].reduce((sum, token) => sum + repositories.weightOf(token, column), 0),
  );
  expect(best).toContain(["NEGATIVE", "NEUTRAL", "POSITIVE"][totals.indexOf(Math.max(...totals))] ?? "none");
});

test("classify-image: the label of a picture", async ({ page }) => {
  await open(page, "classify-image", repositories.imageRepository());
  await page.setInputFiles("input", await picture(page, "#00ff00", "#00ff00"));
  await expect(page.locator("li").first()).toContainText("green");
});

test("detect: boxes in pixels of the picture; the pixel mask is filled", async ({ page }) => {
  await open(page, "detect", repositories.detectorRepository());
  await page.setInputFiles("input", await picture(page, "#ff0000", "#ff0000"));
  await expect(page.locator("li")).toHaveText([/^dog [01]\.\d\d at 10, 5$/]);
  await page.setInputFiles("input", await picture(page, "#0000ff", "#0000ff"));
  await expect(page.locator("li")).toHaveText([/^cat [01]\.\d\d at 10, 5$/]);
});

test("segment: the class of each pixel", async ({ page }) => {
  await open(page, "segment", repositories.segmenterRepository());
  await page.setInputFiles("input", await picture(page, "#00ff00", "#0000ff"));
  await expect(page.locator("li")).toHaveText(["green 50 %", "blue 50 %"]);
  expect(await page.locator("canvas").evaluate((x) => [x.clientWidth, x.clientHeight])).toEqual([40, 20]);
});

test("encode-sound: a recording becomes Whisper's spectrogram", async ({ page }) => {
  await open(page, "encode-sound", repositories.soundRepository());
  const samples = Float32Array.from({ length: 16_000 }, (_, i) => Math.round(9_000 * Math.sin(i / 5)) / 32_768);
  await page.setInputFiles("input", { name: "tone.wav", mimeType: "audio/wav", buffer: wave(samples, 16_000) });
  const { data } = logMel(samples, { op: "log-mel", sampleRate: 16_000, bands: 80, seconds: 30 });
  const means = Array.from({ length: 5 }, (_, band) =>
    data.subarray(band * 3_000, (band + 1) * 3_000).reduce((sum, x) => sum + x / 3_000, 0),
  );
  await expect(page.locator("li")).toHaveText([/^last_hidden_state \[1, 80, 1\] /]);
  const [line = ""] = await lines(page);
  const found = line.split("] ")[1]?.split(" ").slice(0, 5).map(Number) ?? [];
  for (const [i, mean] of means.entries()) expect(Math.abs((found[i] ?? NaN) - mean)).toBeLessThan(2e-3);
});

/** A WAV file of 16 bits and one channel. */
function wave(samples: Float32Array, rate: number): Buffer {
  const file = Buffer.alloc(44 + 2 * samples.length);
  file.write("RIFF", 0);
  file.writeUInt32LE(36 + 2 * samples.length, 4);
  file.write("WAVEfmt ", 8);
  for (const [at, value] of [
    [16, 16],
    [24, rate],
    [28, 2 * rate],
    [40, 2 * samples.length],
  ] as const)
    file.writeUInt32LE(value, at);
  for (const [at, value] of [
    [20, 1],
    [22, 1],
    [32, 2],
    [34, 16],
  ] as const)
    file.writeUInt16LE(value, at);
  file.write("data", 36);
  for (const [i, x] of samples.entries()) file.writeInt16LE(Math.round(x * 32_768), 44 + 2 * i);
  return file;
}
