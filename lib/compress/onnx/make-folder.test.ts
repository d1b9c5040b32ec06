import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { afterAll, expect, test } from "vitest";
import { makeFolder } from "./make-folder.ts";

const folder = mkdtempSync(join(tmpdir(), "selvedge-make-folder-"));
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

test("a folder is made with those above it, by a relative path too, and one that is there is left", async () => {
  for (const path of [join(folder, "a/b/c"), relative(".", join(folder, "d/e")), folder]) {
    await makeFolder(path);
    expect(statSync(path).isDirectory()).toBe(true);
  }
  await Promise.all([1, 2, 3].map(() => makeFolder(join(folder, "same/place"))));
  expect(existsSync(join(folder, "same/place"))).toBe(true);
});

test("a file in the way is an error of the system with its path", async () => {
  const file = join(folder, "file");
  writeFileSync(file, "");
  await expect(makeFolder(file)).rejects.toMatchObject({ code: "EEXIST", path: file });
  await expect(makeFolder(join(file, "below"))).rejects.toMatchObject({ code: "ENOTDIR" });
});

test("a file system that answers ENOENT below a folder that exists is an error, after one attempt", async () => {
  let attempts = 0;
  const refuse = (path: string): Promise<never> => {
    attempts += 1;
    return Promise.reject(Object.assign(new Error(`ENOENT: ${path}`), { code: "ENOENT", path }));
  };
  await expect(makeFolder(join(folder, "proc/x"), refuse)).rejects.toThrow(
    `${join(folder, "proc")} can't be made: ${folder} takes no new folders; choose another folder`,
  );
  expect(attempts).toBe(1);
});
