import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { endsInProbabilities, resolveClasses, resolveImage } from "./describe-model.ts";
import { parseLabels, readLabels } from "./read-labels.ts";
import type { ImageOption, Wording } from "./describe-model.ts";
import type { Port } from "./tensor.ts";

const say: Wording = {
  image: "image",
  classes: "labels",
  size: (width, height) => `add ${width}x${height}`,
  layout: "add the layout",
  input: "name the input",
  output: "name the output",
};
const port = (name: string, dims: Port["dims"], dtype: Port["dtype"] = "float32"): Port => ({
  ...{ name, dims, dtype },
  batchAxis: typeof dims[0] === "string" ? 0 : null,
});
const image = (option: ImageOption, ...inputs: Port[]) => resolveImage(option, inputs, say);

describe("an image", () => {
  test("takes size, channels and layout from the model's dims", () => {
    expect(image({}, port("x", ["n", 3, 224, 192]))).toEqual({
      input: "x",
      image: { resize: { mode: "exact", width: 192, height: 224 }, channels: "rgb", layout: "nchw" },
    });
    expect(image({}, port("x", [1, 28, 30, 1])).image).toEqual({
      ...{ resize: { mode: "exact", width: 30, height: 28 }, channels: "gray", layout: "nhwc" },
    });
    const optimum = port("pixel_values", ["batch_size", "num_channels", "height", "width"]);
    expect(image({ size: [8, 6] }, optimum).image).toMatchObject({ layout: "nchw", channels: "rgb" });
    expect(image({ size: [8, 6] }, port("x", ["n", "h", "w", "c"])).image.layout).toBe("nhwc");
    expect(image({ size: [8, 6], layout: "nhwc" }, port("x", ["a", "b", "d", "e"])).image.layout).toBe("nhwc");
  });

  test("of a model with several inputs belongs to the only one that can take it, or to the named one", () => {
    const [x, y, ids] = [port("x", [1, 3, 8, 8]), port("y", [1, 1, 4, 4]), port("ids", [1, 7], "int64")];
    expect(image({}, ids, x).input).toBe("x");
    expect(image({ input: "y" }, x, y).input).toBe("y");
    expect(() => image({}, x, y)).toThrow('several inputs for images, "x" (float32 [1, 3, 8, 8]), "y"');
    expect(() => image({}, x, y)).toThrow("name the input");
    expect(() => image({}, ids)).toThrow('no input for an image (float32, float16 or uint8 with 4 dims), only "ids"');
    expect(() => image({ input: "z" }, x)).toThrow('the model has no input "z", only "x"');
    expect(() => image({ input: "ids" }, x, ids)).toThrow("can't take an image");
  });

  test("normalises by presets and by numbers, in the order of its channels", () => {
    const of = (normalize: ImageOption["normalize"], more: ImageOption = {}, dims = [1, 3, 8, 8]) => {
      const { scale, mean, std } = image({ normalize, ...more }, port("x", dims)).image;
      return { scale, mean, std };
    };
    expect(of(undefined)).toEqual({});
    expect(of("0..1")).toEqual({});
    expect(of("0..255")).toEqual({ scale: 1 });
    expect(of("-1..1", {}, [1, 1, 8, 8])).toEqual({ mean: [0.5], std: [0.5] });
    expect(of("imagenet")).toEqual({ mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] });
    expect(of("imagenet", { channels: "bgr" })).toEqual({ mean: [0.406, 0.456, 0.485], std: [0.225, 0.224, 0.229] });
    expect(of("clip").mean?.[0]).toBe(0.48145466);
    expect(of({ mean: 0.5, std: [1, 2, 3] })).toEqual({ mean: [0.5, 0.5, 0.5], std: [1, 2, 3] });
    expect(() => of("imagenet", {}, [1, 1, 8, 8])).toThrow('"imagenet" is for three channels');
    for (const std of [0, -1, [1, -0.5, 1], Number.MIN_VALUE, Infinity, NaN])
      expect(() => of({ std }), String(std)).toThrow(/std is .*: pixels are divided by it, so it must be above 0/);
    expect(() => of({ mean: Infinity })).toThrow("mean is Infinity: it must be finite");
    expect(() => of({ mean: [1, 2] })).toThrow("mean has 2 values for 3 channels");
    expect(() => of({ mean: [123.7, 116.3, 103.5], std: [58.4, 57.1, 57.4] })).toThrow(
      "mean is 123.7, for pixels of 0 to 255, and pixels are 0 to 1: divide mean and std by 255",
    );
    expect(() => of({ mean: 0, std: 255 })).toThrow("std is 255");
    expect(of({ mean: 1, std: 10 })).toEqual({ mean: [1, 1, 1], std: [10, 10, 10] });
    expect(image({}, port("x", [1, 3, 8, 8], "uint8")).image.scale).toBe(1);
    expect(() => image({ normalize: "imagenet" }, port("x", [1, 3, 8, 8], "uint8"))).toThrow("whole numbers");
  });

  test("is cropped as ImageNet's usual: from 256 for 224", () => {
    const of = (resize: ImageOption["resize"]) => image({ resize }, port("x", [1, 3, 224, 224])).image.resize;
    expect(of("crop")).toEqual({ mode: "crop", width: 224, height: 224, shortSide: 256 });
    expect(of({ shortSide: 232 })).toMatchObject({ shortSide: 232 });
    expect(of("fit")).toEqual({ mode: "fit", width: 224, height: 224 });
    expect(() => of({ shortSide: 200 })).toThrow("at least 224 is needed");
  });

  test.each<[string, ImageOption, Port["dims"]]>([
    ["width 192, but", { size: [192, 224] }, [1, 3, 224, 224]],
    ["height 99, but", { size: [224, 99] }, ["n", 224, 224, 3]],
    ["gray has 1 channel", { channels: "gray" }, [1, 3, 8, 8]],
    ["bgr has 3 channels", { channels: "bgr" }, [1, 1, 8, 8]],
    ["of any width: add widthxheight", {}, [1, 3, "h", "w"]],
    ["of any width: add widthx48", {}, ["n", 3, 48, "w"]],
    ["has 8, not 1 or 3: use nchw", { layout: "nhwc" }, [1, 3, 8, 8]],
    ["neither on axis 1 nor on axis 3", {}, [1, 4, 8, 8]],
    ["where its channels are: add the layout", { size: [8, 8] }, ["n", "a", "b", "d"]],
    ["takes 4 images at once", {}, [4, 3, 8, 8]],
  ])("is refused where the model contradicts it: %s", (message, option, dims) => {
    expect(() => image(option, port("x", dims))).toThrow(message);
    expect(() => image(option, port("x", dims))).toThrow(/^image: /);
  });
});

describe("classes", () => {
  const classes = (labels: readonly string[], outputs: readonly Port[], more = {}) =>
    resolveClasses({ labels, ...more }, outputs, [], say);

  test("become labels of the output, softmax first where the graph does not end in one", () => {
    const softmax = [{ opType: "Softmax", input: ["h"], output: ["y"] }];
    const outputs = [port("y", ["n", 3])];
    const decode = { op: "labels", asset: "labels.txt", logits: true };
    expect(classes(["a", "b", "c"], outputs)).toEqual({ output: "y", decode, text: "a\nb\nc\n" });
    expect(resolveClasses({ labels: ["a", "b", "c"] }, outputs, softmax, say).decode).toMatchObject({ logits: false });
    expect(resolveClasses({ labels: ["a", "b", "c"], logits: true, top: 9 }, outputs, softmax, say).decode).toEqual({
      ...decode,
      top: 3,
    });
  });

  test("belong to the only output with as many, or to the named one", () => {
    const outputs = [port("boxes", [1, 10, 4]), port("scores", [1, 2])];
    expect(classes(["a", "b"], outputs).output).toBe("scores");
    expect(classes(["a", "b", "c", "d"], [port("p", [1, 4]), port("q", [1, 4])], { output: "q" }).output).toBe("q");
    expect(() => classes(["a", "b"], [port("p", [1, 2]), port("q", [1, 2])])).toThrow("several outputs");
    expect(() => classes(["a"], [port("p", [1, "k"]), port("q", [])])).toThrow("several outputs");
    expect(classes(["a"], [port("p", [1, "k"]), port("q", [1, 2])]).output).toBe("p");
    const boxes = [port("scores", ["n", 3]), port("boxes", ["n", 4])];
    expect(() => classes(["a", "b"], boxes)).toThrow(
      'labels: 2 labels, and no output has 2 classes, only "scores" (float32 [n, 3]), "boxes" (float32 [n, 4])',
    );
    expect(() => classes(["a"], outputs, { output: "no" })).toThrow('no output "no"');
    expect(classes(["a", "b"], [port("y", ["n", "k"])]).output).toBe("y");
  });

  test("belong to scores, not to the number or the name of the class, as of an ArgMax or of scikit-learn", () => {
    const label = port("label", ["n"], "int64");
    expect(classes(["a", "b"], [label, port("probabilities", ["n", "k"])]).output).toBe("probabilities");
    expect(classes(["a", "b"], [port("label", ["n"], "string"), port("p", ["n", 2])]).output).toBe("p");
    expect(classes(["a", "b"], [port("y", [1, 2], "uint8")]).output).toBe("y"); // quantized scores
    expect(() => classes(["a", "b"], [label])).toThrow(
      'labels: "label" (int64 [n]) holds no score for each class, but the class itself, as of an ArgMax: export the model with its scores',
    );
    expect(() => classes(["a", "b"], [label, port("p", ["n", 2])], { output: "label" })).toThrow(
      /the class itself, as of an ArgMax: name the output$/,
    );
  });

  test("belong to whole numbers where there is one for each class, and to others first", () => {
    const logits = port("logits", [1, 2], "int32"); // of MatMulInteger
    expect(classes(["a", "b"], [logits]).output).toBe("logits");
    expect(classes(["a", "b"], [logits, port("ids", [1, 7], "int64")]).output).toBe("logits");
    expect(classes(["a", "b"], [logits, port("p", ["n", "k"])]).output).toBe("p");
    expect(classes(["a", "b"], [logits, port("p", [1, 2])], { output: "logits" }).output).toBe("logits");
    // As many numbers as classes in one row are a batch, one number for one class is the class.
    for (const dims of [[2], ["n", 1], ["n", 3], ["n", "k"]])
      expect(() => classes(dims[1] === 1 ? ["a"] : ["a", "b"], [port("y", dims, "int64")])).toThrow("as of an ArgMax");
  });

  test("are refused where their number is another, with the fix", () => {
    const labels = Array.from({ length: 1_000 }, (_, i) => `class ${i}`);
    expect(() => classes(labels, [port("y", [1, 1_001])])).toThrow(/^labels: 1000 labels, but "y".*has 1001 classes/);
    expect(() => classes(labels, [port("y", [1, 1_001])])).toThrow("background");
    expect(() => classes(labels, [port("y", [1, 1_000, 1, 1])])).toThrow();
    expect(() => classes([], [port("y", [1, 2])])).toThrow("there is no label");
    expect(() => classes(["a\nb", "c"], [port("y", [1, 2])])).toThrow("label 0 has a line break");
  });
});

/** Returns a text in UTF-16, its low bytes first, or its high ones. */
const utf16 = (text: string, isBig = false): Uint8Array =>
  Uint8Array.from(
    Array.from(text, (x) => x.charCodeAt(0)).flatMap((x) => (isBig ? [x >> 8, x & 0xff] : [x & 0xff, x >> 8])),
  );
const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
const latin1 = (text: string): Uint8Array => Uint8Array.from(text, (x) => x.charCodeAt(0));

test.each<[string, Uint8Array, string]>([
  ["UTF-16 with its mark", utf16("\ufeffcat\r\ndog\r\n"), "f is UTF-16, not UTF-8. Save it as UTF-8 (in PowerShell"],
  ["UTF-16 of the other order", utf16("\ufeffcat\ndog\n", true), "f is UTF-16, not UTF-8"],
  ["UTF-16 without a mark", utf16("cat\ndog\n"), "f is UTF-16, not UTF-8"],
  ["UTF-16 without a mark or Latin letters", utf16("猫\n狗\n", true), "f is UTF-16, not UTF-8"],
  ["Latin-1", latin1("caf\xe9\nth\xe9\n"), "f is not UTF-8. Save it as UTF-8"],
  [
    "a Git LFS pointer",
    utf8("version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 3\n"),
    "f is a Git LFS pointer, not the file itself. Run `git lfs pull`",
  ],
  ["a PNG", latin1("\x89PNG\r\n\x1a\n\0\0\0\rIHDR"), "f is a picture, not labels. Is the path right?"],
  ["an ONNX model", latin1("\x08\x07\x12\x04test\x00\x00\x00\x01"), "f is a binary file, not labels"],
  ["an HTML page", utf8("\ufeff<!doctype html>"), "f is an HTML page, not labels. Is the path right?"],
  [
    "an empty line",
    utf8("cat\n\nfox\n"),
    "f: line 2 is empty, and each line is the label of a class: remove it, or write",
  ],
  ["an empty first line", utf8("\ufeff\r\ncat\r\n"), "f: line 1 is empty"],
])("a file that holds no labels is named with its fix: %s", (_, bytes, message) => {
  const read = (): unknown => readLabels(bytes, "f");
  expect(read).toThrow(TypeError);
  expect(read).toThrow(message);
});

test("UTF-8 with a mark, line ends of any system, and letters of any script are labels", () => {
  for (const end of ["\n", "\r\n", "\r"])
    for (const mark of ["", "\ufeff"])
      for (const last of ["", end, end + end])
        expect(readLabels(utf8(`${mark}Café${end} ${end}猫${last}`), "f")).toEqual(["Café", " ", "猫"]);
  expect(readLabels(utf8('\ufeff["", "b"]'), "f")).toEqual(["", "b"]);
});

test("labels are read from lines, a JSON array and a config.json of Hugging Face", () => {
  expect(parseLabels("\ufeffcat\r\ndog\n\n", "f")).toEqual(["cat", "dog"]);
  // A table of characters ends in the blank.
  expect(parseLabels("a\r\n b \r\n \r\n", "f")).toEqual(["a", " b ", " "]);
  expect(parseLabels('["cat", "dog"]', "f")).toEqual(["cat", "dog"]);
  expect(parseLabels('{"id2label": {"1": "dog", "0": "cat"}, "label2id": {}}', "f")).toEqual(["cat", "dog"]);
  expect(parseLabels('{"0": "cat", "1": "dog"}', "f")).toEqual(["cat", "dog"]);
  expect(parseLabels("[PAD]\n[CLS]\n", "f")).toEqual(["[PAD]", "[CLS]"]);
  expect(() => parseLabels('{"id2label": {"0": "cat", "2": "dog"}}', "f")).toThrow("f has no text for class 1");
  expect(() => parseLabels('{"model_type": "vit"}', "f")).toThrow("id2label");
  expect(() => parseLabels("[]", "f")).toThrow("holds no labels");
});

test.each(['["cat", "dog",]', '{"0": "cat", "1": "dog"', '{"id2label": {0: "cat"}}', '[["cat"], ["dog"]'])(
  "broken JSON is no label: %s",
  (text) => {
    expect(() => parseLabels(text, "f")).toThrow("f begins as JSON, but can't be parsed as such");
  },
);

test("any labels without line breaks survive the asset", () => {
  const label = fc.string({ minLength: 1 }).filter((x) => !/[\r\n\ufeff]/.test(x) && !/^\s*[[{<]/.test(x));
  fc.assert(
    fc.property(fc.array(label, { minLength: 1 }), (labels) => {
      const { text } = resolveClasses({ labels }, [port("y", [1, labels.length])], [], say);
      expect(parseLabels(text, "f")).toEqual(labels);
    }),
  );
});

test("probabilities are known by the last operator that computes", () => {
  const node = (opType: string, input: string[], output: string) => ({ opType, input, output: [output] });
  expect(endsInProbabilities([node("Softmax", ["h"], "y")], "y")).toBe(true);
  expect(endsInProbabilities([node("Sigmoid", ["h"], "a"), node("Cast", ["a"], "y")], "y")).toBe(true);
  expect(endsInProbabilities([node("LogSoftmax", ["h"], "y")], "y")).toBe(false);
  expect(endsInProbabilities([node("Softmax", ["h"], "a"), node("MatMul", ["a", "w"], "y")], "y")).toBe(false);
  expect(endsInProbabilities([node("Softmax", ["h"], "a")], "y")).toBe(false);
  expect(endsInProbabilities([node("Identity", ["y"], "y")], "y"), "a loop ends").toBe(false);
  const parts = [node("Exp", ["h"], "e"), node("ReduceSum", ["e"], "s"), node("Div", ["e", "s"], "y")];
  expect(endsInProbabilities(parts, "y")).toBe(true);
});
