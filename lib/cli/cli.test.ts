import { toBinary } from "@bufbuild/protobuf";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { parseBundle } from "../core/bundle-schema.ts";
import { main } from "./cli.ts";
import type { CompressReport } from "../compress/report/report.ts";
import { classifier, seededFloats, smallModel, twoLayers } from "../test-support/compress/fixtures.ts";
import { readModelFile, writeModelFile } from "../compress/onnx/model-file.ts";
import { ModelProtoSchema, TensorProto_DataType } from "../compress/onnx/onnx.gen.js";
import { decodeModel, OnnxModel } from "../compress/onnx/model.ts";
import { floatTensor, int64Tensor } from "../compress/onnx/tensor-proto.ts";
import { captureOutput } from "../test-support/capture-output.ts";

let folder: string;
let said: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "selvedge-cli-"));
  said = "";
  captureOutput((text) => {
    said += text;
  });
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true, force: true });
});

/** Two layers, as a file. */
function modelFile(): string {
  const model = twoLayers({ opset: 11, inputs: 64, units: 96, outputs: 32 });
  const path = join(folder, "model.onnx");
  writeFileSync(path, model.write());
  return path;
}

const reportOf = (out: string): CompressReport =>
  JSON.parse(readFileSync(join(out, "report.json"), "utf8")) as CompressReport;

test("a model's names reach the terminal without what a terminal obeys (store-C10)", async () => {
  const model = twoLayers({ opset: 11, inputs: 8, units: 8, outputs: 8 });
  const [node] = model.graph.proto.node;
  const name = "a\u001b]0;owned\u0007\u009b31m\u202e\rb";
  for (const tensor of model.graph.proto.initializer)
    if (tensor.name === node?.input[1]) tensor.name = node.input[1] = name;
  const path = join(folder, "model.onnx");
  writeFileSync(path, model.write());
  expect(await main(["inspect", path])).toBe(0);
  model.graph.proto.node.at(-1)!.input[0] = `${name}?`;
  writeFileSync(path, model.write());
  expect(await main(["inspect", path])).toBe(1);
  expect(said).not.toMatch(/[^\P{Cc}\n\t]|\u202e/u);
  expect(said.split("a\\u001b]0;owned\\u0007\\u009b31m\\u202e\\u000db").length).toBeGreaterThan(2);
});

describe("compress", () => {
  test("writes the forms of its targets, the bundle and the reports", { timeout: 120_000 }, async () => {
    const [path, out] = [modelFile(), join(folder, "out")];
    const samples = join(folder, "samples.jsonl");
    const lines = Array.from({ length: 40 }, (_, i) => JSON.stringify({ x: [[...seededFloats(64, i + 1)]] }));
    writeFileSync(samples, lines.join("\n"));
    const words = ["compress", path, "--out", out, "--targets", "webgpu-f16,wasm", "--samples", samples];
    expect(await main([...words, "--max-drop", "10dB"]), said).toBe(0);
    const forms = ["f16.onnx", "f32.onnx", "int4.onnx", "int8-dynamic.onnx", "int8.onnx"];
    expect(readdirSync(out).sort()).toEqual(["bundle", ...forms, "report.html", "report.json", "report.md"].sort());
    for (const form of forms) {
      const { graph } = readModelFile(join(out, form));
      expect(graph.proto.input.map((x) => x.name)).toEqual(["x"]);
      expect(graph.proto.output.map((x) => x.name)).toEqual(["y"]);
    }
    const report = reportOf(out);
    expect(report.samples).toEqual({ n: 40, fitted: 20, scored: 20, isSynthetic: false });
    const scores = Object.fromEntries(report.forms.map((x) => [x.id, x.sqnrDb]));
    expect(scores["f32"]).toBeGreaterThan(90);
    expect(scores["f16"]).toBeGreaterThan(55);
    expect(scores["int8"]).toBeGreaterThan(38);
    expect(scores["int8-dynamic"]).toBeGreaterThan(33);
    expect(scores["int4"]).toBeGreaterThan(15);
    const int8 = report.forms.find((x) => x.id === "int8");
    expect(int8?.bytes).toBeLessThan(report.sourceBytes * 0.4);
    const bundle = parseBundle(JSON.parse(readFileSync(join(out, "bundle", "bundle.json"), "utf8")));
    expect(bundle.variants.map((x) => x.id)).toContain("int8");
    for (const id of Object.values(report.defaults)) expect(bundle.variants.map((x) => x.id)).toContain(id);
    expect(bundle.variants.filter((x) => x.golden === undefined).map((x) => x.id)).toEqual([]);
  });

  test(
    "a form past its budget is written, reported, kept out of the bundle, and gives 2",
    { timeout: 120_000 },
    async () => {
      const out = join(folder, "out");
      const words = ["compress", modelFile(), "--out", out, "--targets", "wasm", "--forms", "int8"];
      expect(await main([...words, "--max-drop", "150dB"])).toBe(2);
      expect(existsSync(join(out, "int8.onnx"))).toBe(true);
      const report = reportOf(out);
      expect(report.defaults).toEqual({ wasm: "f32" });
      const bundle = parseBundle(JSON.parse(readFileSync(join(out, "bundle", "bundle.json"), "utf8")));
      expect(bundle.variants.map((x) => x.id)).toEqual(["f32"]);
      expect(said).toMatch(/int8 missed its budget/);
    },
  );

  test("a source that has a form's name in the folder that is written to stays as it is (store-A3)", async () => {
    const source = join(folder, "int8.onnx");
    writeFileSync(source, readFileSync(modelFile()));
    const before = readFileSync(source);
    for (const path of [source, join(folder, "link.onnx")]) {
      if (path !== source) symlinkSync(source, path);
      said = "";
      expect(await main(["compress", path, "--out", folder, "--targets", "wasm"])).toBe(1);
      expect(said).toMatch(/out: writing .*int8\.onnx would overwrite .*, an input/);
    }
    expect(readFileSync(source)).toEqual(before);
  });

  test("external data, samples and labels stay as they are (store-A3)", async () => {
    const model = twoLayers({ opset: 11, inputs: 64, units: 96, outputs: 32 });
    const path = join(folder, "model.onnx");
    await writeModelFile(path, model, { external: true });
    const data = readdirSync(folder).find((x) => x.endsWith(".data")) ?? "";
    renameSync(join(folder, data), join(folder, "f32.onnx"));
    const { proto } = decodeModel(readFileSync(path));
    for (const tensor of proto.graph?.initializer ?? [])
      for (const entry of tensor.externalData) if (entry.key === "location") entry.value = "f32.onnx";
    writeFileSync(path, toBinary(ModelProtoSchema, proto));
    expect(await main(["compress", path, "--out", folder, "--targets", "wasm"])).toBe(1);
    expect(said).toMatch(/writing .*f32\.onnx would overwrite/);
    const samples = join(folder, "report.json");
    writeFileSync(samples, "[]");
    expect(await main(["compress", modelFile(), "--out", folder, "--forms", "int8", "--samples", samples])).toBe(1);
    expect(said).toMatch(/writing .*report\.json would overwrite/);
  });

  test("a folder of others named bundle is reported before the work, and stays as it is (store-A3)", async () => {
    const notes = join(folder, "bundle", "mine", "notes.txt");
    mkdirSync(join(folder, "bundle", "mine"), { recursive: true });
    writeFileSync(notes, "mine");
    expect(await main(["compress", modelFile(), "--out", folder, "--targets", "wasm"])).toBe(1);
    expect(said).toMatch(/contains "mine", which is not part of a bundle/);
    expect(readFileSync(notes, "utf8")).toBe("mine");
    expect(readdirSync(folder).sort()).toEqual(["bundle", "model.onnx"]);
  });

  test("stopped before it began, it makes no form and says so", async () => {
    const out = join(folder, "out");
    await main(["compress", modelFile(), "--out", out, "--targets", "wasm"], AbortSignal.abort());
    expect(reportOf(out)).toMatchObject({ isStopped: true, forms: [] });
  });

  test("what is stopped on its way keeps what was done, and gives 130", { timeout: 120_000 }, async () => {
    const out = join(folder, "out");
    const stop = new AbortController();
    vi.mocked(process.stderr.write).mockImplementation((text) => {
      if (/making int8-dynamic/.test(String(text))) stop.abort();
      return true;
    });
    expect(await main(["compress", modelFile(), "--out", out, "--targets", "wasm"], stop.signal)).toBe(130);
    const report = reportOf(out);
    expect(report.isStopped).toBe(true);
    expect(report.forms.map((x) => x.id)).toEqual(["f32", "int8"]);
    expect(parseBundle(JSON.parse(readFileSync(join(out, "bundle", "bundle.json"), "utf8"))).variants[0]?.id).toBe(
      "f32",
    );
    expect(readFileSync(join(out, "report.html"), "utf8")).toMatch(/Stopped before the last form/);
  });

  test("a recipe that is given back is what --dry-run wrote; options win over it", { timeout: 120_000 }, async () => {
    const [path, out] = [modelFile(), join(folder, "out")];
    const samples = join(folder, "x.jsonl");
    writeFileSync(samples, JSON.stringify([[...seededFloats(64, 1)]]));
    const words = ["compress", path, "--out", out];
    const asked = ["--targets", "wasm", "--forms", "int8", "--samples", samples, "--max-drop", "0.1%"];
    expect(await main([...words, ...asked, "--dry-run"])).toBe(0);
    const recipe = join(folder, "out", "recipe.json");
    expect(await main([...words, "--recipe", recipe, "--limit", "1"]), said).toBe(3);
    expect(said).toMatch(/int8: too few to tell: .* over 1 held-out sample/);
    expect(reportOf(out)).toMatchObject({
      targets: ["wasm"],
      samples: { n: 1, isSynthetic: false },
      metric: { budget: "at least 30 dB (error below 0.1% of the outputs' energy)" },
      forms: [{ id: "f32" }, { id: "int8" }],
    });
    writeFileSync(recipe, JSON.stringify({ schema: "selvedge/recipe@1", targets: ["tpu"] }));
    expect(await main([...words, "--recipe", recipe])).toBe(1);
    expect(said).toMatch(/recipe.*targets\.0/);
  });

  test(
    "a usual form that misses its budget gives 0 where each target has another one",
    { timeout: 300_000 },
    async () => {
      const out = join(folder, "out");
      const samples = join(folder, "samples.jsonl");
      const lines = Array.from({ length: 40 }, (_, i) => JSON.stringify({ x: [[...seededFloats(64, i + 1)]] }));
      writeFileSync(samples, lines.join("\n"));
      const words = ["compress", modelFile(), "--out", out, "--targets", "wasm", "--samples", samples];
      expect(await main([...words, "--max-drop", "10dB"]), said).toBe(0);
      const scoreOf = (id: string): number => reportOf(out).forms.find((x) => x.id === id)?.score ?? Number.NaN;
      const between = `${((scoreOf("int8") + scoreOf("int8-dynamic")) / 2).toFixed(2)}dB`;
      expect(await main([...words, "--max-drop", between]), said).toBe(0);
      expect(reportOf(out).forms.filter((x) => !x.isWithinBudget)).toHaveLength(1);
      expect(await main([...words, "--max-drop", between, "--forms", "int8,int8-dynamic"]), said).toBe(2);
    },
  );

  test("a form that cannot be made is reported, takes no other down, and gives 2", { timeout: 120_000 }, async () => {
    const out = join(folder, "out");
    vi.spyOn(OnnxModel.prototype, "useContribOperators").mockImplementation(() => {
      throw new Error("no contrib operators today");
    });
    const words = ["compress", modelFile(), "--out", out, "--targets", "webgpu,wasm", "--forms", "int8,int4"];
    expect(await main(words)).toBe(2);
    const [f32, int8, int4] = reportOf(out).forms;
    expect([f32?.why, int8?.why]).toEqual([undefined, undefined]);
    expect(int4).toMatchObject({ id: "int4", bytes: 0, why: expect.stringMatching(/no contrib operators/) as string });
    expect(existsSync(join(out, "int8.onnx"))).toBe(true);
    expect(said).toMatch(/int4: it could not be made/);
  });

  test(
    "a model that runs on no synthetic input has its forms, unchecked, and gives 3",
    { timeout: 120_000 },
    async () => {
      const out = join(folder, "out");
      const model = smallModel({
        opset: 13,
        inputs: { x: ["n", 64], y: ["m", 7] },
        outputs: ["z"],
        nodes: [
          { opType: "MatMul", input: ["x", "a"], output: ["h"] },
          { opType: "Reshape", input: ["y", "shape"], output: ["r"] },
          { opType: "Add", input: ["h", "r"], output: ["z"] },
        ],
        initializers: [floatTensor("a", [64, 96], seededFloats(64 * 96, 3)), int64Tensor("shape", [2], [11, 96])],
      });
      const path = join(folder, "odd.onnx");
      writeFileSync(path, model.write());
      expect(await main(["compress", path, "--out", out, "--targets", "wasm"]), said).toBe(3);
      expect(existsSync(join(out, "int8.onnx"))).toBe(true);
      expect(said).toMatch(/ran on none of the synthetic inputs.*give --samples/);
      expect(said).toMatch(/^Not done: no bundle was written, since wasm got no form that passed \(not checked, /m);
      expect(existsSync(join(out, "bundle"))).toBe(false);
    },
  );

  test("--image and --classes describe the model in one line, and inspect shows it", { timeout: 120_000 }, async () => {
    const [path, out, config] = ["model.onnx", "out", "config.json"].map((x) => join(folder, x)) as [
      string,
      string,
      string,
    ];
    writeFileSync(path, classifier({ channels: 3, size: 8, classes: 3, softmax: true }).write());
    writeFileSync(config, JSON.stringify({ id2label: { 0: "cat", 1: "dog", 2: "hen" } }));
    const words = [
      "compress",
      path,
      "--out",
      out,
      "--targets",
      "wasm",
      "--forms",
      "f32",
      "--image",
      "imagenet,bgr,crop",
    ];
    expect(await main([...words, "--classes", config, "--top", "2"]), said).toBe(0);
    const { model, assets } = parseBundle(JSON.parse(readFileSync(join(out, "bundle", "bundle.json"), "utf8")));
    expect(model.inputs[0]?.image).toEqual({
      resize: { mode: "crop", width: 8, height: 8, shortSide: 9 },
      channels: "bgr",
      layout: "nchw",
      mean: [0.406, 0.456, 0.485],
      std: [0.225, 0.224, 0.229],
    });
    expect(model.inputs[0]?.batchAxis).toBe(0);
    expect(model.outputs[0]?.decode).toEqual({ op: "labels", asset: "labels.txt", top: 2 });
    expect(assets?.[0]?.bytes).toBe("cat\ndog\nhen\n".length);
    said = "";
    // Only wasm was wanted, so nothing vouches for WebGPU.
    expect(await main(["inspect", join(out, "bundle")])).toBe(3);
    expect(said).toMatch(/^Not checked on webgpu: a load there refuses this bundle\.\n/);
    expect(said).toContain("input: x float32 [batch, 3, 8, 8]; images, 8x8, bgr, nchw, crop, shortSide 9, mean 0.406/");
    expect(said).toContain("output: y float32 [batch, 3]; labels, the best 2 of 3 labels of labels.txt\n");
  });

  test(
    "a model that ends in logits gets a softmax, unless --no-logits says otherwise",
    { timeout: 120_000 },
    async () => {
      const [path, labels] = ["model.onnx", "labels.txt"].map((x) => join(folder, x)) as [string, string];
      writeFileSync(path, classifier({ channels: 1, size: 8, classes: 2 }).write());
      writeFileSync(labels, "cat\ndog\n");
      const logitsOf = async (out: string, ...more: string[]): Promise<unknown> => {
        const words = ["compress", path, "--out", join(folder, out), "--targets", "wasm", "--forms", "f32"];
        expect(await main([...words, "--classes", labels, ...more]), said).toBe(0);
        const json: unknown = JSON.parse(readFileSync(join(folder, out, "bundle", "bundle.json"), "utf8"));
        const decode = parseBundle(json).model.outputs[0]?.decode;
        return decode?.op === "labels" ? decode.logits : undefined;
      };
      expect(await logitsOf("a")).toBe(true);
      expect(await logitsOf("b", "--no-logits")).toBeUndefined();
    },
  );

  test("--dry-run writes a recipe, and makes nothing", async () => {
    const out = join(folder, "out");
    expect(await main(["compress", modelFile(), "--out", out, "--targets", "wasm", "--dry-run"])).toBe(0);
    expect(readdirSync(out)).toEqual(["recipe.json"]);
    const recipe = JSON.parse(readFileSync(join(out, "recipe.json"), "utf8")) as { forms: string[] };
    expect(recipe.forms).toEqual(["f32", "int8", "int8-dynamic"]);
  });

  test.each<[string, string[], RegExp]>([
    ["no --out", ["compress", "MODEL"], /--out/],
    ["an unknown target", ["compress", "MODEL", "--out", "o", "--targets", "tpu"], /"tpu"/],
    ["a form that is not made", ["compress", "MODEL", "--out", "o", "--forms", "int3"], /"int3"/],
    ["an unknown command", ["squeeze", "MODEL"], /'squeeze'/],
    ["an unknown option", ["inspect", "MODEL", "--fast"], /--fast/],
  ])("%s is refused by name", async (_, words, message) => {
    const path = modelFile();
    expect(await main(words.map((x) => (x === "MODEL" ? path : x)))).toBe(1);
    expect(said).toMatch(message);
  });

  test("an input of a type that no array carries is refused by name", async () => {
    const model = smallModel({
      opset: 21,
      inputs: { x: [2] },
      outputs: ["y"],
      nodes: [{ opType: "Cast", input: ["x"], output: ["y"], attributes: { to: TensorProto_DataType.FLOAT } }],
      types: { x: TensorProto_DataType.INT4 },
    });
    const path = join(folder, "int4.onnx");
    writeFileSync(path, model.write());
    expect(await main(["compress", path, "--out", join(folder, "out")])).toBe(1);
    expect(said).toMatch(/"x" has type int4/);
  });

  test.each<[string, (path: string) => string, RegExp]>([
    ["is a file", (path) => path, /out: .*model\.onnx is a file: give a folder/],
    ["lies below a file", (path) => join(path, "deeper", "out"), /out: .*model\.onnx is a file: give a folder/],
  ])("an --out that %s is refused before the work", async (_, out, message) => {
    const path = modelFile();
    expect(await main(["compress", path, "--out", out(path), "--targets", "wasm"])).toBe(1);
    expect(said).toMatch(message);
    expect(said).not.toContain("running the model");
  });

  test("a form for none of the targets is refused", async () => {
    const words = ["compress", modelFile(), "--out", join(folder, "out"), "--targets", "wasm", "--forms", "int8,int4"];
    expect(await main(words)).toBe(1);
    expect(said).toMatch(/forms: int4 is for webgpu-f16 and webgpu, and the targets are wasm: add --targets webgpu/);
    expect(existsSync(join(folder, "out"))).toBe(false);
  });

  test("a file that is no model is refused, and nothing is written", async () => {
    const path = join(folder, "bad.onnx");
    writeFileSync(path, "<!doctype html>");
    expect(await main(["compress", path, "--out", join(folder, "out")])).toBe(1);
    expect(said).toMatch(/model-invalid/);
    expect(existsSync(join(folder, "out"))).toBe(false);
  });
});

test("inspect, check and diff speak of a model", { timeout: 60_000 }, async () => {
  const path = modelFile();
  expect(await main(["inspect", path])).toBe(0);
  expect(said).toMatch(/ai\.onnx 11.*MatMul 1/s);
  expect(await main(["diff", path, path])).toBe(0);
  expect(said).toMatch(/y {2}200\.0 dB/);
  expect(await main(["check", path, "--targets", "wasm"])).toBe(0);
  expect(said).toMatch(/wasm: passed; 3 operators there, 0 of shapes and 0 others on the CPU/);
});

test("check and diff run a model whose LayerNormalization has an empty name for its bias (cli-mended)", async () => {
  const model = smallModel({
    opset: 17,
    inputs: { x: ["n", 8] },
    outputs: ["y"],
    nodes: [{ opType: "LayerNormalization", input: ["x", "scale", ""], output: ["y"] }],
    initializers: [floatTensor("scale", [8], seededFloats(8))],
  });
  const path = join(folder, "model.onnx");
  writeFileSync(path, model.write());
  expect(await main(["diff", path, path]), said).toBe(0);
  expect(await main(["check", path, "--targets", "wasm"]), said).toBe(0);
}, 60_000);

test("check, diff and compress name the node at which ONNX Runtime crashes", { timeout: 60_000 }, async () => {
  const nodes = [{ opType: "Sum", input: ["x", ""], output: ["y"] }];
  const path = join(folder, "model.onnx");
  writeFileSync(path, smallModel({ opset: 17, inputs: { x: ["n", 8] }, outputs: ["y"], nodes }).write());
  const samples = join(folder, "samples.jsonl");
  writeFileSync(samples, '{"x": [1, 2, 3, 4, 5, 6, 7, 8]}\n');
  for (const command of [
    ["check", path, "--targets", "wasm"],
    ["check", path, "--targets", "wasm", "--samples", samples],
    ["diff", path, path, "--samples", samples],
    ["compress", path, "--out", join(folder, "out")],
    ["compress", path, "--out", join(folder, "out"), "--samples", samples],
  ]) {
    said = "";
    expect(await main(command)).toBe(1);
    expect(said).toMatch(/ONNX Runtime crashes \(SIG\w+\) as it runs the model at the Sum node "y\/Sum"/);
  }
});

describe("diff", () => {
  const unlike = (name: string, model: OnnxModel): string => {
    const path = join(folder, name);
    writeFileSync(path, model.write());
    return path;
  };
  const relu = (input: string, dims: readonly (number | string)[], output = "y", type?: number): OnnxModel =>
    smallModel({
      opset: 17,
      inputs: { [input]: dims },
      outputs: [output],
      nodes: [{ opType: "Relu", input: [input], output: [output] }],
      ...(type !== undefined && { types: { [input]: type, [output]: type } }),
    });

  test.each([
    ["another input", relu("z", ["n", 8]), /b\.onnx has the input "z", which .*a\.onnx has not: its inputs are "x"/],
    ["another type", relu("x", ["n", 8], "y", TensorProto_DataType.FLOAT16), /"x" is float32 in .* and float16 in/],
    ["other dims", relu("x", ["n", 9]), /"x" has dims \[n, 8\] in .*a\.onnx and \[n, 9\] in .*b\.onnx/],
    ["no output in common", relu("x", ["n", 8], "z"), /no output in common: .* has "y", .* has "z"/],
  ])("models that cannot be compared are named with the reason: %s", async (_, other, message) => {
    const [a, b] = [unlike("a.onnx", relu("x", ["n", 8])), unlike("b.onnx", other)];
    expect(await main(["diff", a, b])).toBe(1);
    expect(said).toMatch(message);
  });

  test("a model that fails on the inputs is named", async () => {
    const reshape = smallModel({
      opset: 17,
      inputs: { x: ["n", 8] },
      outputs: ["y"],
      nodes: [{ opType: "Reshape", input: ["x", "to"], output: ["y"] }],
      initializers: [int64Tensor("to", [1], [7])],
    });
    const [a, b] = [unlike("a.onnx", relu("x", ["n", 8])), unlike("b.onnx", reshape)];
    expect(await main(["diff", a, b])).toBe(1);
    expect(said).toMatch(/diff: .*b\.onnx does not run on the inputs: /);
  });
});
