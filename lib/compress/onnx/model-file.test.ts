import { create } from "@bufbuild/protobuf";
import { execFileSync } from "node:child_process";
import {
  existsSync,
  mkdtempSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { checkApart, readModelFile, writeModelFile, writeWhole } from "./model-file.ts";
import { seededFloats, smallModel } from "../../test-support/compress/fixtures.ts";
import { FunctionProtoSchema, NodeProtoSchema, StringStringEntryProtoSchema } from "./onnx.gen.js";
import type { TensorProto } from "./onnx.gen.js";
import { decodeModel, readModel } from "./model.ts";
import { floatsOf, floatTensor } from "./tensor-proto.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "selvedge-files-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

const model = () =>
  smallModel({
    opset: 13,
    inputs: { x: [512] },
    outputs: ["y"],
    nodes: [
      { opType: "Mul", input: ["x", "a"], output: ["z"] },
      { opType: "Add", input: ["z", "b"], output: ["y"] },
    ],
    initializers: [floatTensor("a", [512], seededFloats(512, 1)), floatTensor("b", [512], seededFloats(512, 2))],
  });

/** Writes a model whose two tensors have external data, and returns its path. */
function written(
  a: Record<string, string>,
  b: Record<string, string> = { location: "w.data", offset: "2048" },
): string {
  const made = model();
  const place = (tensor: TensorProto | undefined, entries: Record<string, string>) => {
    if (tensor === undefined) return;
    tensor.rawData = new Uint8Array();
    tensor.dataLocation = 1;
    tensor.externalData = Object.entries(entries).map(([key, value]) =>
      create(StringStringEntryProtoSchema, { key, value }),
    );
  };
  place(made.graph.proto.initializer[0], a);
  place(made.graph.proto.initializer[1], b);
  const inner = join(folder, "model");
  mkdirSync(inner, { recursive: true });
  const values = new Uint8Array(seededFloats(1024, 7).buffer);
  writeFileSync(join(inner, "w.data"), values);
  writeFileSync(join(folder, "secret.data"), values);
  if (!existsSync(join(inner, "link.data"))) symlinkSync(join(folder, "secret.data"), join(inner, "link.data"));
  const path = join(inner, "model.onnx");
  writeFileSync(path, made.write());
  return path;
}

describe("readModelFile", () => {
  test("reads external data, at an offset or from the start, with the length that the dims need", () => {
    const read = readModelFile(written({ location: "w.data" }));
    const whole = seededFloats(1024, 7);
    expect(floatsOf(read.graph.proto.initializer[0]!)).toEqual(whole.slice(0, 512));
    expect(floatsOf(read.graph.proto.initializer[1]!)).toEqual(whole.slice(512));
    expect(() => readModel(read.write())).not.toThrow();
  });

  test.each<[string, Record<string, string>, RegExp]>([
    ["the folder above", { location: "../secret.data" }, /"a".*not inside the model's folder/],
    ["a climb in the middle", { location: "x/../../secret.data" }, /not inside/],
    ["a climb by backslashes", { location: "..\\secret.data" }, /not inside/],
    ["an absolute path", { location: "/etc/passwd" }, /not inside/],
    ["a drive", { location: "C:secret.data" }, /not inside/],
    ["no name", { location: "" }, /not inside/],
    ["a link out of the folder", { location: "link.data" }, /leads out/],
    ["a missing file", { location: "none.data" }, /does not exist/],
    ["a range past the end", { location: "w.data", offset: "4096" }, /a file of 4096 bytes/],
    ["a negative offset", { location: "w.data", offset: "-8" }, /not a number of bytes/],
    ["an offset in exponents", { location: "w.data", offset: "1e3" }, /not a number of bytes/],
    ["a length that its dims do not need", { location: "w.data", length: "8" }, /dims need 2048/],
    ["a range over another tensor's", { location: "w.data", offset: "1024" }, /overlaps the external data of "a"/],
    ["a range into another tensor's", { location: "w.data", offset: "2052" }, /overlaps/],
  ])("refuses %s", (_, place, message) => {
    expect(() => readModelFile(written(place))).toThrow(message);
  });

  test("reads tied weights: two tensors with the same range", () => {
    const { initializer } = readModelFile(written({ location: "w.data", offset: "2048" })).graph.proto;
    expect(initializer.map((x) => Array.from(floatsOf(x)))).toEqual(
      [0, 1].map(() => Array.from(floatsOf(initializer[1]!))),
    );
  });

  test("refuses values both inside and outside", () => {
    const made = model();
    const [first] = made.graph.proto.initializer;
    first!.dataLocation = 1;
    first!.externalData = [create(StringStringEntryProtoSchema, { key: "location", value: "w.data" })];
    const path = written({ location: "w.data" });
    writeFileSync(path, made.write());
    expect(() => readModelFile(path)).toThrow(/twice, inside and outside/);
  });

  test("refuses a folder and a named pipe, as a model and as external data, without waiting (store-C15)", () => {
    expect(() => readModelFile(folder)).toThrow(/not a regular file/);
    const path = written({ location: "w.data" });
    mkdirSync(join(folder, "model", "folder"));
    execFileSync("mkfifo", [join(folder, "model", "pipe")]);
    expect(() => readModelFile(join(folder, "model", "pipe"))).toThrow(/not a regular file/);
    for (const location of ["folder", "pipe"]) {
      written({ location });
      expect(() => readModelFile(path)).toThrow(/not a regular file/);
    }
  });

  test("refuses external data with two locations (store-C15)", () => {
    const path = written({ location: "w.data" });
    const made = decodeModel(readFileSync(path));
    const [first] = made.graph.proto.initializer;
    first!.externalData.push(create(StringStringEntryProtoSchema, { key: "location", value: "other.data" }));
    writeFileSync(path, made.write());
    expect(() => readModelFile(path)).toThrow(/"a" names the location of its external data twice/);
  });

  test("finds overlaps with a number of comparisons linear in the tensors, not quadratic (store-C14)", () => {
    let reads = 0;
    const tensor = model().graph.proto.initializer[0]!;
    const places = Array.from({ length: 4_096 }, (_, i) => ({
      tensor,
      end: i * 8 + 8,
      get start() {
        reads += 1;
        return i * 8;
      },
    }));
    checkApart([...places].sort((a, b) => (a.end % 97) - (b.end % 97)));
    expect(reads).toBeLessThan(64 * places.length);
    expect(() => {
      checkApart([...places, { tensor, start: 20_001, end: 20_002 }]);
    }).toThrow(/overlaps/);
  });
});

describe("writeModelFile", () => {
  test("writes external weights, and reads back the same model", async () => {
    const [made, path] = [model(), join(folder, "int8-static.onnx")];
    const before = made.write();
    await writeModelFile(path, made, { external: true });
    expect(readdirSync(folder).sort()).toEqual([
      "int8-static.onnx",
      expect.stringMatching(/^int8-static\.onnx\.[0-9a-f]{16}\.data$/),
    ]);
    expect(Buffer.compare(made.write(), before)).toBe(0);
    expect(Buffer.compare(readModelFile(path).write(), before)).toBe(0);
  });

  test("a replaced model keeps its own weights until the new one is in place (store-C17)", async () => {
    const [path, old] = [join(folder, "m.onnx"), model()];
    const before = old.write();
    await writeModelFile(path, old, { external: true });
    const bytes = readFileSync(path);
    const next = model();
    next.graph.proto.initializer[0] = floatTensor("a", [512], seededFloats(512, 3));
    await writeModelFile(path, next, { external: true });
    expect(Buffer.compare(readModelFile(path).write(), next.write())).toBe(0);
    // A crash between the two renames leaves this.
    writeFileSync(path, bytes);
    expect(Buffer.compare(readModelFile(path).write(), before)).toBe(0);
  });

  test("keeps the old file where writing fails, and leaves no other file", async () => {
    const path = join(folder, "model.onnx");
    writeFileSync(path, "old");
    await expect(writeWhole(path, [new Uint8Array(8), null as unknown as Uint8Array])).rejects.toThrow();
    expect(readdirSync(folder)).toEqual(["model.onnx"]);
  });
});

test("recursive functions are refused, and others kept", () => {
  const make = (name: string, calls: string) =>
    create(FunctionProtoSchema, {
      name,
      domain: "own",
      input: ["x"],
      output: ["y"],
      node: [
        create(NodeProtoSchema, { opType: calls, domain: calls === "Relu" ? "" : "own", input: ["x"], output: ["y"] }),
      ],
    });
  const made = model();
  made.proto.functions = [make("f", "g"), make("g", "Relu")];
  expect(Buffer.compare(readModel(made.write()).write(), made.write())).toBe(0);
  made.proto.functions = [make("f", "g"), make("g", "f")];
  expect(() => readModel(made.write())).toThrow(/"f" calls itself/);
});

test("the error of a file that is no model names the file", () => {
  const path = join(folder, "weights.onnx");
  writeFileSync(path, "<!doctype html>");
  expect(() => readModelFile(path)).toThrow(
    expect.objectContaining({
      code: "model-invalid",
      message: expect.stringContaining(`${path}: not a valid ONNX model: `) as string,
      details: { path },
    }) as Error,
  );
});
