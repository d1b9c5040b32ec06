import { execFileSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { transformSync } from "esbuild";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { resolveAssets } from "../assets.ts";
import { main } from "./cli.ts";
import { TEMPLATE_NAMES, TEMPLATES, writeModel, writeTemplate } from "./templates.ts";
import type { TemplateName } from "./templates.ts";
import { captureOutput } from "../test-support/capture-output.ts";

let root: string;
let model: string;
let said: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "selvedge-init-"));
  model = join(root, "model");
  mkdirSync(join(model, "chunks"), { recursive: true });
  writeFileSync(join(model, "bundle.json"), "{}");
  writeFileSync(join(model, "chunks/a.bin"), "a");
  said = "";
  captureOutput((text) => {
    said += text;
  });
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(root, { recursive: true, force: true });
});

describe.each(TEMPLATE_NAMES)("the template %s", (name) => {
  test("is written whole: package, page, picture and model, each in its place", async () => {
    const app = join(root, "My App");
    const written = await writeTemplate(name, app, { model });
    for (const file of written) expect(existsSync(join(app, file)), file).toBe(true);
    const { publicFolder, scripts, dependencies } = TEMPLATES[name];
    for (const file of ["sample.png", "style.css", "models/ocr-rec/bundle.json", "models/ocr-rec/chunks/a.bin"])
      expect(written).toContain(join(publicFolder, file));
    const json = JSON.parse(readFileSync(join(app, "package.json"), "utf8")) as unknown;
    expect(json).toMatchObject({ name: "my-app", scripts, dependencies });
    // Git takes a pattern without a slash in front at any depth: src/selvedge/ is the app's own.
    const ignored = readFileSync(join(app, ".gitignore"), "utf8").trim().split("\n");
    expect(ignored).toEqual(["node_modules/", expect.stringMatching(/^\/(?:dist|\.next|selvedge)\/$/)]);
  });

  test("has at most ten lines of code that are about the model", () => {
    const folder = join(import.meta.dirname, "templates", name);
    const code = readdirSync(folder, { recursive: true, encoding: "utf8" })
      .filter((x) => /(main|app|page)\.jsx?$/.test(x))
      .map((x) => readFileSync(join(folder, x), "utf8"))
      .find((x) => x.includes("createEngine"));
    // Markup and imports of React are the framework's.
    const lines = code
      ?.replace(/return \(\s*<main>.*<\/main>\s*\);/s, "")
      .split("\n")
      .filter((x) => !/^\s*(\/[/*].*|\W*|"use client";|import .* from "react";)$/.test(x));
    expect(lines?.length).toBeLessThanOrEqual(10);
  });
});

test("addresses of Next's template have the base path, which Next adds to none of public/", () => {
  for (const file of ["page.jsx", "layout.jsx"]) {
    const code = readFileSync(join(import.meta.dirname, "templates/next/app", file), "utf8");
    expect(code).toContain("NEXT_PUBLIC_BASE");
    expect(code.match(/["'`]\/(?!\/)[\w/.-]+/g)).toBeNull();
  }
});

/** A template's page without a browser: the user's picks, the events of the picture, and what the page shows. */
interface AppPage {
  pick(...files: string[]): void;
  /** The picture was decoded, or was none. */
  fire(event: "load" | "error"): void;
  text(): unknown;
}

/** Runs the code of a template over a model that answers when the test says. */
function openPage(name: TemplateName, run: () => Promise<unknown>): AppPage {
  const path = { react: "src/app.jsx", next: "app/page.jsx" }[name as string] ?? "main.js";
  const code = readFileSync(join(import.meta.dirname, "templates", name, path), "utf8");
  const { code: script } = transformSync(code, { loader: "jsx", format: "cjs", jsxFactory: "h" });
  const createEngine = () => Promise.resolve({ load: () => Promise.resolve({ run }) });
  const state: unknown[] = [];
  let hooks = 0;
  const useState = (first: unknown): [unknown, (next: unknown) => void] => {
    const i = hooks++;
    if (!(i in state)) state[i] = first;
    return [state[i], (next) => (state[i] = next)];
  };
  let isMounted = false;
  const useEffect = (effect: () => void): void => {
    if (!isMounted) effect();
    isMounted = true;
  };
  const [input, picture, output] = [{ files: [] }, { src: "" }, { value: "" }] as Record<string, unknown>[];
  const elements: Record<string, unknown> = { input, img: picture, output };
  const createObjectURL = (file: string | undefined): string => {
    if (file === undefined) throw new TypeError("createObjectURL: parameter 1 is not of type 'Blob'.");
    return `blob:${file}`;
  };
  const module = { exports: {} as Record<string, () => Element> };
  interface Element {
    readonly type: string;
    readonly props: Record<string, (event: object) => void> | null;
    readonly children: readonly Element[];
  }
  const h = (type: string, props: Element["props"], ...children: Element[]): Element => ({ type, props, children });
  // eslint-disable-next-line @typescript-eslint/no-implied-eval -- the template is a file of this package
  const start = new Function("module", "require", "document", "window", "URL", "h", script) as (
    ...globals: unknown[]
  ) => void;
  start(
    module,
    (id: string) => (id === "react" ? { useState, useEffect } : { createEngine }),
    { querySelector: (selector: string) => elements[selector] },
    {},
    { createObjectURL },
    h,
  );
  const app = Object.values(module.exports)[0];
  const propsOf = (type: string): Element["props"] => {
    hooks = 0;
    const props = app?.().children.find((x) => x.type === type)?.props ?? null;
    if (type === "img" && picture !== undefined) picture["src"] = props?.["src"];
    return props;
  };
  const handle = (element: Record<string, unknown> | undefined, type: string, event: string): void => {
    const handler = app ? propsOf(type)?.[`on${event}`] : element?.[`on${event.toLowerCase()}`];
    (handler as (event: object) => void)({ target: element });
  };
  return {
    pick(...files) {
      if (input !== undefined) input["files"] = files;
      handle(input, "input", "Change");
      if (app) propsOf("img");
    },
    fire(event) {
      handle(picture, "img", event === "load" ? "Load" : "Error");
    },
    text: () => (app ? (propsOf("img"), state[1]) : output?.["value"]),
  };
}

describe.each(TEMPLATE_NAMES)("the page of the template %s", (name) => {
  const answers: ((text: string) => void)[] = [];
  const run = () =>
    new Promise<unknown>((resolve) => {
      answers.push((text) => {
        resolve({ answer: { kind: "text", text } });
      });
    });
  let page: AppPage;
  beforeEach(() => {
    answers.length = 0;
    page = openPage(name, run);
  });

  test("shows the text of the picture that was picked last, whichever is read first", async () => {
    page.pick("first.png");
    page.fire("load");
    page.pick("second.png");
    page.fire("load");
    await expect.poll(() => answers.length).toBe(2);
    answers[1]?.("second");
    await expect.poll(() => page.text()).toBe("second");
    answers[0]?.("first");
    await new Promise((done) => setTimeout(done, 5));
    expect(page.text()).toBe("second");
  });

  test("says that a file is not a picture", () => {
    page.pick("notes.txt");
    page.fire("error");
    expect(page.text()).toBe("This file is not a picture.");
  });

  test("keeps the picture where the dialog is cancelled", async () => {
    page.pick("first.png");
    page.fire("load");
    expect(() => {
      page.pick();
    }).not.toThrow();
    await expect.poll(() => answers.length).toBe(1);
    answers[0]?.("first");
    await expect.poll(() => page.text()).toBe("first");
  });
});

test("a file that exists is kept, and nothing is written, until it is forced", async () => {
  const app = join(root, "app");
  mkdirSync(app);
  writeFileSync(join(app, "main.js"), "mine");
  await expect(writeTemplate("vanilla", app, { model })).rejects.toThrow(/^main\.js exists in .*--force/);
  expect(readdirSync(app)).toEqual(["main.js"]);
  await writeTemplate("vanilla", app, { model, force: true });
  expect(readFileSync(join(app, "main.js"), "utf8")).toContain("createEngine");
});

test.each([
  ["a folder where a file goes", "main.js/mine.txt", /^main\.js is a folder in .*; nothing was written/],
  ["a folder where package.json goes", "package.json/mine.txt", /^package\.json is a folder in /],
  ["a file where a folder goes", "public", /^public is a file in .*; nothing was written/],
])("%s is no file to overwrite: nothing is written", async (_, mine, message) => {
  const app = join(root, "app");
  mkdirSync(join(app, mine, ".."), { recursive: true });
  writeFileSync(join(app, mine), "mine");
  await expect(writeTemplate("vanilla", app, { model, force: true })).rejects.toThrow(message);
  expect(readdirSync(app, { recursive: true }).sort()).toEqual([...new Set([mine.split("/")[0], mine])]);
});

test("a file that can't be written takes back those before it, and the error names that file", async () => {
  const app = join(root, "app");
  mkdirSync(app);
  writeFileSync(join(app, "mine.txt"), "mine");
  // The longest path of Linux is 4,095 bytes: index.html fits, public/sample.png does not. A folder without permission
  // would not hold back a superuser.
  const part = "x".repeat(200);
  let deep = app;
  while (deep.length < 3800) deep = join(deep, part);
  deep = join(deep, "x".repeat(4081 - deep.length - 1));
  const error = await writeTemplate("vanilla", deep, { model }).catch((x: unknown) => x);
  expect(error).toMatchObject({ code: "ENAMETOOLONG", path: expect.stringContaining(app) as string });
  expect(readdirSync(app)).toEqual(["mine.txt"]);
});

test("below a file the error names that file", async () => {
  writeFileSync(join(root, "notes"), "mine");
  expect(await main(["init", join(root, "notes/app"), "--template", "static"])).toBe(1);
  expect(said).toMatch(/notes is in the way of a folder|the model of the templates is not built/);
});

test.each(["main.js", "public"])("a broken link in the place of %s is named, and nothing is written", async (name) => {
  const app = join(root, "app");
  mkdirSync(app);
  symlinkSync(join(root, "elsewhere"), join(app, name));
  for (const force of [false, true])
    await expect(writeTemplate("vanilla", app, { model, force })).rejects.toThrow(`${name} is a broken link in `);
  expect(readdirSync(app)).toEqual([name]);
  expect(existsSync(join(root, "elsewhere"))).toBe(false);
});

describe("--model-only", () => {
  test("writes the model and a picture alone into an app that exists, or nothing", async () => {
    const folder = join(root, "app/public");
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "favicon.svg"), "mine");
    const written = ["models/ocr-rec/bundle.json", "models/ocr-rec/chunks/a.bin", "sample.png"];
    expect(await writeModel(folder, { model })).toEqual(written);
    expect(readdirSync(folder).sort()).toEqual(["favicon.svg", "models", "sample.png"]);
    await expect(writeModel(folder, { model })).rejects.toThrow(
      /^sample\.png, models.ocr-rec.bundle\.json, models.ocr-rec.chunks exist in .*; nothing was written\. --force overwrites\.$/,
    );
    await writeModel(folder, { model, force: true });
    const app = join(root, "app");
    await writeTemplate("vanilla", join(root, "new"), { model });
    writeFileSync(join(app, "package.json"), "{}");
    await expect(writeTemplate("vanilla", app, { model })).rejects.toThrow(/package\.json.* exist.*--model-only/);
  });

  test("refuses a template, and a folder that has one of public files", async () => {
    expect(await main(["init", root, "--model-only", "--template", "next"])).toBe(1);
    expect(said).toContain("leave out --template");
    const find = async (folder: string): Promise<string | undefined> => {
      said = "";
      await main(["init", folder, "--model-only"]);
      return /npx selvedge init (.+) --model-only/.exec(said)?.[1];
    };
    // A page without a bundler may have a folder of that name.
    mkdirSync(join(root, "page/static"), { recursive: true });
    mkdirSync(join(root, "page/public/static"), { recursive: true });
    expect([await find(join(root, "page")), await find(join(root, "page/public"))]).toEqual([undefined, undefined]);
    mkdirSync(join(root, "app/static"), { recursive: true });
    writeFileSync(join(root, "app/package.json"), "{}");
    expect(await find(join(root, "app"))).toBe(join(root, "app/static"));
    expect(await find(join(root, "app/public"))).toBe(join(root, "app/static"));
    expect(readdirSync(join(root, "app")).sort()).toEqual(["package.json", "static"]);
    said = "";
    await main(["init", join(root, "app"), "--model-only", "--force"]);
    expect(said).not.toContain("is no folder of public files");
  });

  test("says how the model is loaded", async () => {
    await main(["init", join(root, "public"), "--model-only"]);
    expect(said).toMatch(/engine\.load\("\/models\/ocr-rec\/bundle\.json"\)|the model of the templates is not built/);
  });
});

test("without a template and without a terminal the command names the templates", async () => {
  expect(await main(["init", join(root, "app")])).toBe(1);
  for (const name of TEMPLATE_NAMES) expect(said).toContain(name);
  expect(existsSync(join(root, "app"))).toBe(false);
});

describe("in a terminal", () => {
  /** Runs the command with lines that a user types; the input ends behind them. */
  async function answer(...lines: string[]): Promise<number> {
    const input = Object.assign(new PassThrough(), { isTTY: true });
    const { stdin, stderr } = process;
    const isTTY = stderr.isTTY;
    Object.defineProperty(process, "stdin", { value: input, configurable: true });
    stderr.isTTY = true;
    try {
      const done = main(["init", join(root, "app")]);
      for (const line of lines) input.write(`${line}\n`);
      input.end();
      return await done;
    } finally {
      Object.defineProperty(process, "stdin", { value: stdin, configurable: true });
      stderr.isTTY = isTTY;
    }
  }

  test("the command asks for a template, and again where there is none of that name", async () => {
    await answer("vue", " extension ");
    for (const name of TEMPLATE_NAMES) expect(said).toContain(TEMPLATES[name].summary);
    expect(said).toMatch(/Template \[vanilla\]: .*"vue" is not a template.*Template \[vanilla\]: /s);
    expect(said).toMatch(/extension: \d+ files in|the model of the templates is not built/);
  });

  test("an empty answer is the first template", async () => {
    await answer("");
    expect(said).toMatch(/vanilla: \d+ files in|the model of the templates is not built/);
  });

  test("an input that ends without an answer ends the command with an error, and writes nothing", async () => {
    expect(await answer()).toBe(1);
    expect(said).toContain("no template was chosen");
    expect(existsSync(join(root, "app"))).toBe(false);
  });
});

test("the next step quotes a folder that a shell would not take as it is", async () => {
  const shown = async (folder: string): Promise<string | undefined> => {
    said = "";
    await main(["init", "--template", "extension", "--", folder]);
    return said.split("\n").find((x) => x.startsWith("  cd "));
  };
  const cwd = process.cwd();
  process.chdir(root);
  try {
    expect(await shown("my-app")).toBe("  cd my-app");
    expect(await shown("日本語")).toBe("  cd 日本語");
    expect(await shown("it's (a) $HOME & more")).toBe(`  cd 'it'\\''s (a) $HOME & more'`);
    expect(await shown("-dash")).toBe("  cd './-dash'");
    expect(await shown("~x")).toBe("  cd '~x'");
  } finally {
    process.chdir(cwd);
  }
});

test("a template that does not exist is refused with the names of those that do", async () => {
  expect(await main(["init", join(root, "app"), "--template", "vue"])).toBe(1);
  expect(said).toMatch(/vue.*vanilla, react, next, static, extension/s);
});

test.each(["static", "extension"] as const)("the template %s copies the files of one build, and no others", (name) => {
  const app = join(root, name);
  const dist = join(app, "node_modules/selvedge/dist");
  const base = "https://app.example/selvedge/";
  const namesOf = (build: "wasm" | "jspi"): string[] =>
    Object.values<unknown>({ ...resolveAssets(build, base, base, null) }).map((url) => String(url).slice(base.length));
  mkdirSync(dist, { recursive: true });
  const others = ["index.js", "cli.js", "worker-offline.js"];
  for (const file of ["selvedge.min.js", ...namesOf("wasm"), ...namesOf("jspi"), ...others])
    writeFileSync(join(dist, file), file);
  execFileSync(process.execPath, [join(import.meta.dirname, "templates", name, "copy-selvedge.js")], { cwd: app });
  expect(readdirSync(join(app, "selvedge")).sort()).toEqual(["selvedge.min.js", ...namesOf("wasm")].sort());
});

test("the package's name is one that npm takes", async () => {
  for (const [folder, expected] of [
    ["ÄÖ", "app"],
    [".hidden", "hidden"],
    ["a_b c", "a-b-c"],
  ] as const) {
    await writeTemplate("extension", join(root, folder), { model });
    const { name } = JSON.parse(readFileSync(join(root, folder, "package.json"), "utf8")) as { name: string };
    expect(name).toBe(expected);
  }
});
