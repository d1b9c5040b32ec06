// Addresses of repositories, of folders, and of graphs with external data.
import { expect, test } from "vitest";
import { externalAddress, isRepository, parseAddress } from "./repository.ts";

const HUB = "https://hub.example";

test("a folder, a repository and a graph with external data are repositories; a file is none", () => {
  for (const url of [`${HUB}/m/`, `${HUB}/m/#x`, `${HUB}/m/?a=b`, `${HUB}/m.onnx#external=%5B%5D`])
    expect(isRepository(url)).toBe(true);
  for (const url of [`${HUB}/m.onnx`, `${HUB}/m.onnx?at=/`, `${HUB}/m.onnx#/`, `${HUB}/m.onnx#x#external=`])
    expect(isRepository(url)).toBe(false);
});

test("an address of external data is parsed as it was made, whatever the names", () => {
  const names = ["a b.bin", "sub/ü#?%.data", '"'];
  const address = externalAddress(`${HUB}/onnx/m.onnx?v=1#old`, names);
  expect(isRepository(address)).toBe(true);
  expect(parseAddress(address)).toEqual({
    ...{ base: `${HUB}/onnx/m.onnx?v=1`, hub: null, file: undefined },
    external: names,
  });
});

test("a folder has its address as the base, and may name a graph", () => {
  expect(parseAddress(`${HUB}/m/`)).toEqual({ base: `${HUB}/m/`, hub: null, file: undefined, external: null });
  expect(parseAddress(`${HUB}/m/#file=onnx%2Fdecoder`)).toMatchObject({ base: `${HUB}/m/`, file: "onnx/decoder" });
});

test("a repository's address has its host, name, revision and graph", () => {
  const base = `${HUB}/api/owner/name/resolve/refs%2Fpr%2F1/`;
  expect(parseAddress(`${base}#repo=owner%2Fname&file=model`)).toEqual({
    ...{ base, file: "model", external: null },
    hub: { host: `${HUB}/api`, repo: "owner/name", revision: "refs/pr/1" },
  });
  expect(parseAddress(`${base}#repo=owner%2Fname`).file).toBeUndefined();
});

test("a revision that has the name of the repository in it is not mistaken for the host", () => {
  const base = `${HUB}/a/b/resolve/main/`;
  expect(parseAddress(`${base}#repo=a/b`).hub).toEqual({ host: HUB, repo: "a/b", revision: "main" });
});
