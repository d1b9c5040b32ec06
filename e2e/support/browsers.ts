// The tests' requirements on a machine, in one place: the three browsers, their paths, the flags and preferences that
// enable WebGPU, and their installation. Chromium and Firefox run WebGPU on Mesa's lavapipe, Chromium on SwiftShader where
// that does not work (lavapipe/lavapipe.ts); WebKitGTK has none.
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { chromium } from "@playwright/test";
import type { LaunchOptions } from "@playwright/test";
import { LAVAPIPE_ARGS, lavapipeChromium } from "./lavapipe/lavapipe.ts";

/** Names a browser of the tests. */
export type BrowserName = "chromium" | "firefox" | "webkit";

const isRoot = (): boolean => process.getuid?.() === 0;

/** Paths of Debian's binaries. */
export const BROWSER_PATHS = {
  chromium: "/usr/bin/chromium",
  firefox: "/usr/bin/firefox-esr",
  webkitDriver: "/usr/bin/WebKitWebDriver",
  webkitBrowser: "/usr/lib/x86_64-linux-gnu/webkit2gtk-4.1/MiniBrowser",
  xvfb: "/usr/bin/xvfb-run",
} as const;

/** Software adapters of Chromium's WebGPU. */
export type ChromiumAdapter = "lavapipe" | "swiftshader";

/** Returns the adapter of Chromium's WebGPU in the tests. */
export function chromiumAdapter(): ChromiumAdapter {
  return lavapipeChromium() === null ? "swiftshader" : "lavapipe";
}

/** Returns Playwright's options for Chromium with WebGPU on a software adapter, headless. */
export function chromiumLaunch(adapter: ChromiumAdapter = chromiumAdapter()): LaunchOptions {
  const lavapipe = adapter === "lavapipe" ? lavapipeChromium() : null;
  const path = lavapipe ?? (existsSync(BROWSER_PATHS.chromium) ? BROWSER_PATHS.chromium : null);
  return {
    ...(path === null ? {} : { executablePath: path }),
    headless: true,
    args: [
      "--enable-unsafe-webgpu",
      ...(lavapipe === null ? ["--use-webgpu-adapter=swiftshader"] : LAVAPIPE_ARGS),
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      ...(isRoot() ? ["--no-sandbox"] : []),
    ],
  };
}

/**
 * Returns Playwright's options for Firefox ESR, driven by WebDriver BiDi, with WebGPU on a software adapter, headless.
 */
export function firefoxLaunch(): LaunchOptions {
  return {
    channel: "moz-firefox",
    ...(existsSync(BROWSER_PATHS.firefox) ? { executablePath: BROWSER_PATHS.firefox } : {}),
    headless: true,
    firefoxUserPrefs: {
      "dom.webgpu.enabled": true,
      "gfx.webgpu.ignore-blocklist": true,
      // A page that WebDriver inspects counts as debugged: Firefox then keeps the stack of each promise, a quarter of a
      // request's cost. No visitor's page pays that.
      "javascript.options.asyncstack": false,
    },
  };
}

/** Requirements of the browsers: a file that shows that it is installed, and the Debian package that provides it. */
const NEEDS: readonly { readonly path: string; readonly debian: string }[] = [
  { path: BROWSER_PATHS.chromium, debian: "chromium" },
  { path: BROWSER_PATHS.firefox, debian: "firefox-esr" },
  { path: BROWSER_PATHS.webkitDriver, debian: "webkitgtk-webdriver" },
  { path: BROWSER_PATHS.webkitBrowser, debian: "libwebkit2gtk-4.1-0" },
  { path: BROWSER_PATHS.xvfb, debian: "xvfb" },
  { path: "/usr/bin/xauth", debian: "xauth" },
  // Speech synthesis for the sound tests.
  { path: "/usr/bin/espeak-ng", debian: "espeak-ng" },
  { path: "/usr/share/vulkan/icd.d/lvp_icd.json", debian: "mesa-vulkan-drivers" },
  // The compiler and the C library's headers, for Chromium on lavapipe.
  { path: "/usr/bin/cc", debian: "gcc" },
  { path: "/usr/include/string.h", debian: "libc6-dev" },
  // ONNX's own test cases, for the toolchain's reader.
  { path: "/usr/share/libonnx-testdata/data", debian: "libonnx-testdata" },
];

/**
 * Installs the browsers that are missing: with apt if this process is root, else Playwright's own Chromium, and reports
 * what else is missing. SELVEDGE_INSTALL=0 installs nothing. Returns the names of the Debian packages that are still
 * missing.
 */
export function ensureBrowsers(): string[] {
  const missing = (): string[] => NEEDS.filter(({ path }) => !existsSync(path)).map(({ debian }) => debian);
  const wanted = missing();
  if (wanted.length === 0) return [];
  const mayInstall = process.env["SELVEDGE_INSTALL"] !== "0";
  if (mayInstall && isRoot() && existsSync("/usr/bin/apt-get")) {
    const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
    const aptGet = (...args: string[]): void => {
      execFileSync("apt-get", args, { env, stdio: ["ignore", "ignore", "inherit"] });
    };
    console.log(`as root: apt-get install ${wanted.join(" ")} (SELVEDGE_INSTALL=0 leaves that to you)`);
    aptGet("update", "-qq");
    aptGet("install", "-y", "-qq", "--no-install-recommends", ...wanted);
  } else if (mayInstall && wanted.includes("chromium") && !existsSync(chromium.executablePath())) {
    execFileSync("npx", ["playwright", "install", "chromium"], { stdio: "inherit" });
  }
  const left = missing();
  if (left.length > 0) {
    console.error(`browsers: missing ${left.join(" ")}; as root: apt-get install ${left.join(" ")}`);
  }
  return left;
}
