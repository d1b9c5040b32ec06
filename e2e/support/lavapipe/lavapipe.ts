// Chromium on lavapipe, Mesa's Vulkan driver for the CPU: WebGPU some 30 times faster than on SwiftShader, and with
// `shader-f16`. Chromium offers it only through the layer of layer.c, and only where its own folder holds no
// SwiftShader, which comes first. So this builds the layer with a C compiler and makes a second folder of the browser,
// of links where the file system allows. Both are made once for each version of Chromium and of the layer, and used
// only after that browser has answered with an adapter.
//
// SELVEDGE_ADAPTER chooses: `swiftshader` leaves it out; else it is used where it works, and with `lavapipe` `npm test`
// fails where it does not.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { chromium } from "@playwright/test";
import { startServer } from "../../../lib/compress/check/local-server.ts";
import { ROOT } from "../prepare.ts";

/** Debian's folder of Chromium. */
const BROWSER = "/usr/lib/chromium";
const DRIVER = "/usr/share/vulkan/icd.d/lvp_icd.json";
const SOURCE = join(ROOT, "e2e/support/lavapipe/layer.c");
const CACHE = join(ROOT, "e2e/.cache/lavapipe");
const LAYER = "VK_LAYER_SELVEDGE_semaphore";
/** Left out of the second folder. */
const SWIFTSHADER = /swiftshader/;
/** The browser finds its other files beside the file that its program really is: a link to it would lead back. */
const PROGRAM = "chromium";
/** Changes with what `build` makes. */
const FORMAT = 1;
const ANSWER_MS = 60_000;
const SHARED_KILOBYTES = 4_000_000;

/**
 * Arguments by which Chromium takes a Vulkan driver of the system; the last three leave pages and canvases to the CPU, as
 * they are without it.
 */
export const LAVAPIPE_ARGS: readonly string[] = [
  "--use-angle=vulkan",
  "--enable-features=Vulkan",
  "--ignore-gpu-blocklist",
  "--disable-gpu-compositing",
  "--disable-gpu-rasterization",
  "--disable-accelerated-2d-canvas",
];

/** Returns the program that starts Chromium on lavapipe; null where it was not made or not wanted. */
export function lavapipeChromium(): string | null {
  if (process.env["SELVEDGE_ADAPTER"] === "swiftshader" || !existsSync(join(BROWSER, PROGRAM))) return null;
  const path = startOf(folder());
  return existsSync(path) ? path : null;
}

/**
 * Makes Chromium on lavapipe where it is missing and wanted. Where that fails, prints why; returns whether it failed
 * although it is required.
 */
export async function ensureLavapipe(): Promise<boolean> {
  if (process.env["SELVEDGE_ADAPTER"] === "swiftshader") return false;
  try {
    if (!existsSync(join(BROWSER, PROGRAM))) throw new Error(`there is no ${BROWSER}/${PROGRAM}`);
    const made = folder();
    if (existsSync(startOf(made))) return false;
    rmSync(CACHE, { recursive: true, force: true });
    build(made);
    await assertAdapter(draftOf(made));
    renameSync(draftOf(made), startOf(made));
    return false;
  } catch (error) {
    console.error(`Chromium on lavapipe could not be made: ${error instanceof Error ? error.message : String(error)}`);
    console.error("Its tests run on SwiftShader, many times slower and without shader-f16.");
    return process.env["SELVEDGE_ADAPTER"] === "lavapipe";
  }
}

/** Returns the second folder of this Chromium and this layer. */
function folder(): string {
  const { size, mtimeMs } = statSync(join(BROWSER, PROGRAM));
  const key = createHash("sha256").update([FORMAT, size, mtimeMs, readFileSync(SOURCE, "utf8")].join("\n"));
  return join(CACHE, key.digest("hex").slice(0, 16));
}

/** The script that starts the browser; it has this name once the browser has answered. */
function startOf(made: string): string {
  return join(made, "start-chromium");
}

function draftOf(made: string): string {
  return join(made, "start-chromium-unchecked");
}

/** Compiles the layer and makes the folder. */
function build(made: string): void {
  const browser = join(made, "browser");
  mkdirSync(browser, { recursive: true });
  const library = join(made, "layer.so");
  const flags = ["-O1", "-shared", "-fPIC", "-Wall", "-Werror", "-o", library, SOURCE];
  execFileSync("cc", flags, { stdio: ["ignore", "inherit", "inherit"] });
  const layer = {
    name: LAYER,
    type: "GLOBAL",
    library_path: library,
    api_version: "1.3.0",
    implementation_version: "1",
    description: "VK_KHR_external_semaphore_fd for lavapipe",
  };
  writeFileSync(join(made, "layer.json"), JSON.stringify({ file_format_version: "1.2.0", layer }));
  for (const name of readdirSync(BROWSER)) {
    const [from, to] = [join(BROWSER, name), join(browser, name)];
    if (SWIFTSHADER.test(name)) continue;
    if (name === PROGRAM) linkOrCopy(from, to);
    else symlinkSync(from, to);
  }
  const set = Object.entries({ VK_DRIVER_FILES: DRIVER, VK_LAYER_PATH: made, VK_INSTANCE_LAYERS: LAYER });
  const lines = set.map(([name, value]) => `export ${name}='${value}'`);
  // As Debian's own script does: a browser whose shared memory is short crashes.
  lines.push(
    `[ "$(df -k --output=avail /dev/shm | tail -n 1)" -ge ${SHARED_KILOBYTES} ] || set -- --disable-dev-shm-usage "$@"`,
  );
  writeFileSync(draftOf(made), ["#!/bin/sh", ...lines, `exec '${join(browser, PROGRAM)}' "$@"`, ""].join("\n"));
  chmodSync(draftOf(made), 0o755);
}

/** A link takes no room, but must be on the same disk, and is not allowed to every user. */
function linkOrCopy(from: string, to: string): void {
  try {
    linkSync(from, to);
  } catch {
    copyFileSync(from, to);
  }
}

/** Throws where the browser does not compute in float16. */
async function assertAdapter(executablePath: string): Promise<void> {
  const server = await startServer((_request, response) => response.setHeader("content-type", "text/html").end("<p>"));
  const args = ["--enable-unsafe-webgpu", "--no-sandbox", ...LAVAPIPE_ARGS];
  const browser = await chromium.launch({ executablePath, args, timeout: ANSWER_MS });
  try {
    const page = await browser.newPage();
    await page.goto(`${server.origin}/`);
    const hasHalf = await page.evaluate(async () => {
      const adapter = await navigator.gpu.requestAdapter();
      const device = await adapter?.requestDevice();
      device?.destroy();
      return device !== undefined && adapter?.features.has("shader-f16") === true;
    });
    if (!hasHalf) throw new Error("it has no WebGPU device with shader-f16");
  } finally {
    await browser.close();
    await server.close();
  }
}
