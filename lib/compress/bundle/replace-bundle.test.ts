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
import type * as Fs from "node:fs";
import type * as FsPromises from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { writeWhole } from "../onnx/model-file.ts";
import { writeBundle } from "./pack.ts";

/** Renames and flushes in their order; the renames whose number is in `failing` fail. */
const disk = vi.hoisted(() => ({ events: [] as string[], renames: 0, failing: [] as number[] }));

vi.mock("node:fs", async (original) => {
  const fs = await original<typeof Fs>();
  const renameSync = (from: string, to: string): void => {
    disk.renames += 1;
    if (disk.failing.includes(disk.renames)) throw Object.assign(new Error("EPERM"), { code: "EPERM" });
    disk.events.push(`rename ${to}`);
    fs.renameSync(from, to);
  };
  return { ...fs, renameSync };
});
vi.mock("node:fs/promises", async (original) => {
  const fs = await original<typeof FsPromises>();
  const open = async (path: string, flags: string): Promise<FsPromises.FileHandle> => {
    const file = await fs.open(path, flags);
    const sync = file.sync.bind(file);
    file.sync = async () => {
      disk.events.push(`sync ${path}`);
      await sync();
    };
    return file;
  };
  const rename = async (from: string, to: string): Promise<void> => {
    disk.events.push(`rename ${to}`);
    await fs.rename(from, to);
  };
  return { ...fs, open, rename };
});

let folder: string;
let target: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "selvedge-replace-"));
  target = join(folder, "bundle");
  Object.assign(disk, { events: [], renames: 0, failing: [] });
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

const port = { name: "x", dtype: "float32", dims: ["n"], batchAxis: 0 } as const;
const write = (value: number, into = target) =>
  writeBundle(into, {
    model: { name: "m", version: "1", licence: "MIT", inputs: [port], outputs: [port] },
    variants: [{ id: "f32", needs: [], files: [{ path: "m", bytes: Uint8Array.of(value) }] }],
  });
const text = (): string => readFileSync(join(target, "bundle.json"), "utf8");

/** Makes folders and files of a target: names that end with a slash are folders. */
const fill = (names: Readonly<Record<string, string>>): void => {
  for (const [name, content] of Object.entries(names))
    if (name.endsWith("/")) mkdirSync(join(target, name));
    else writeFileSync(join(target, name), content);
};

describe("a bundle replaces nothing but a bundle", () => {
  test.each<[string, Readonly<Record<string, string>>, RegExp]>([
    ["a site", { "photos/": "", "index.html": "" }, /"(photos|index.html)"/],
    ["notes beside a bundle", { "mine/": "", "bundle.json": '{"schema":"selvedge/bundle@1"}' }, /"mine"/],
    ["chunks without a bundle", { "chunks/": "" }, /no bundle.json/],
    ["another bundle.json", { "bundle.json": '{"name":"webpack"}' }, /no bundle.json/],
  ])("a folder with %s stays as it is (store-A3)", async (_, names, message) => {
    mkdirSync(target);
    fill(names);
    const before = readdirSync(target, { recursive: true });
    await expect(write(1)).rejects.toThrow(message);
    expect(readdirSync(target, { recursive: true })).toEqual(before);
    expect(readdirSync(folder)).toEqual(["bundle"]);
  });

  test.each<[string, Readonly<Record<string, string>>]>([
    ["notes", { "chunks/notes.txt": "mine" }],
    ["a copy of a chunk", { [`chunks/${"a".repeat(64)}.bin.bak`]: "" }],
    ["a hash in capital letters", { [`chunks/${"A".repeat(64)}`]: "" }],
    ["a folder that is named as a chunk", { [`chunks/${"a".repeat(64)}/`]: "" }],
  ])("a bundle whose chunks hold %s stays as it is (tool-chunks)", async (_, names) => {
    await write(1);
    fill(names);
    const before = readdirSync(target, { recursive: true });
    const [name = ""] = Object.keys(names);
    await expect(write(2)).rejects.toThrow(`contains "${name.replace(/\/$/, "")}", which is not a chunk`);
    expect(readdirSync(target, { recursive: true })).toEqual(before);
    expect(readdirSync(folder)).toEqual(["bundle"]);
  });

  test("a file called chunks stays as it is (tool-chunks)", async () => {
    mkdirSync(target);
    fill({ "bundle.json": '{"schema":"selvedge/bundle@2"}', chunks: "mine" });
    await expect(write(1)).rejects.toThrow(/contains "chunks" as a file/);
    expect(readFileSync(join(target, "chunks"), "utf8")).toBe("mine");
  });

  test("a folder called signature.json stays as it is (tool-chunks)", async () => {
    await write(1);
    fill({ "signature.json/": "", "signature.json/notes": "mine" });
    await expect(write(2)).rejects.toThrow(/contains "signature.json" as a folder/);
    expect(readFileSync(join(target, "signature.json/notes"), "utf8")).toBe("mine");
    expect(readdirSync(folder)).toEqual(["bundle"]);
  });

  test("chunks of both schemas, in use or not, are replaced", async () => {
    await write(1);
    fill({ [`chunks/${"a".repeat(64)}`]: "", [`chunks/${"b".repeat(64)}.bin`]: "" });
    await write(2);
    expect(readdirSync(join(target, "chunks"))).toHaveLength(1);
  });

  test("a file stays as it is (store-A3)", async () => {
    writeFileSync(target, "notes");
    await expect(write(1)).rejects.toThrow(/is a file/);
    expect(readFileSync(target, "utf8")).toBe("notes");
  });

  test("an empty folder, and a bundle of any schema with its signature, are replaced", async () => {
    mkdirSync(target);
    await write(1);
    const first = text();
    writeFileSync(join(target, "bundle.json"), '{"schema":"selvedge/bundle@7"}');
    writeFileSync(join(target, "signature.json"), "{}");
    await write(1);
    expect(text()).toBe(first);
    expect(readdirSync(folder)).toEqual(["bundle"]);
  });

  test("a link to a bundle stays a link, and its bundle is replaced", async () => {
    await write(1);
    const link = join(folder, "link");
    symlinkSync(target, link);
    const first = text();
    await write(2, link);
    expect(text()).not.toBe(first);
    expect(readdirSync(folder).sort()).toEqual(["bundle", "link"]);
  });
});

test("where the second rename fails, the older bundle is there again, signature and all (store-A3)", async () => {
  await write(1);
  writeFileSync(join(target, "signature.json"), "{}");
  const first = text();
  Object.assign(disk, { renames: 0, failing: [2] });
  await expect(write(2)).rejects.toThrow("EPERM");
  expect(text()).toBe(first);
  expect(existsSync(join(target, "signature.json"))).toBe(true);
  expect(readdirSync(folder)).toEqual(["bundle"]);
});

test("where the older bundle can't be renamed back either, it is kept beside its place", async () => {
  await write(1);
  Object.assign(disk, { renames: 0, failing: [2, 3] });
  await expect(write(2)).rejects.toThrow(/its older version is in .*\.bundle\.old-/);
  const [kept = ""] = readdirSync(folder);
  expect(readdirSync(join(folder, kept)).sort()).toEqual(["bundle.json", "chunks"]);
});

describe("bytes are on the disk before a rename shows them (store-C16)", () => {
  test("a file's", async () => {
    const path = join(folder, "report.md");
    await writeWhole(path, [Uint8Array.of(1)]);
    expect(disk.events.map((x) => basename(x).replace(/^\.(.*)\.new-.*/, "new $1"))).toEqual([
      "new report.md",
      "report.md",
      basename(folder),
    ]);
  });

  test("a bundle's, and those of its folders", async () => {
    await write(1);
    const at = disk.events.indexOf(`rename ${target}`);
    const before = disk.events.slice(0, at).map((x) => x.replace(/^sync .*\.new-[^/]*/, "new"));
    const names = readdirSync(target, { recursive: true, encoding: "utf8" });
    expect(before.sort()).toEqual(["new", ...names.map((x) => `new/${x}`)].sort());
    expect(disk.events.slice(at + 1)).toEqual([`sync ${folder}`]);
  });
});
