// Readers of repositories' files: what exporters and libraries write, and anything else without an exception.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { PortSteps } from "../core/bundle.ts";
import { isSelvedgeError } from "../core/errors.ts";
import { readConfig } from "./config.ts";
import { describeRepository } from "./describe.ts";
import { readGeneration } from "./generation.ts";
import { chooseGraphs, DTYPE_BY_SUFFIX, listGraphs, mayHideData, neighboursOf } from "./onnx-files.ts";
import { readProcessor } from "./processor.ts";
import { filesToRead, licenceOf, pointerOf, readRepository, readTree } from "./repository.ts";
import type { RepositoryFile } from "./repository.ts";
import { poolingPath, readSentence } from "./sentence.ts";
import { readTokenizer } from "./tokenizer.ts";
import { furtherFiles } from "./vocabulary.ts";

const HASH = "0123456789abcdef".repeat(4);

/** Lists files of a repository, each of 1,000 bytes unless said. */
function filesOf(paths: readonly string[], bytes = 1_000): RepositoryFile[] {
  return paths.map((path) => ({ path, bytes, sha256: HASH, oid: null }));
}

/** Describes a repository of these files, with config.json and others as texts. */
function describeFiles(
  files: readonly RepositoryFile[],
  texts: Readonly<Record<string, unknown>> = {},
  file?: string,
): ReturnType<typeof describeRepository> {
  const json = Object.entries(texts).map(([path, value]) => [path, JSON.stringify(value)] as const);
  return describeRepository({
    ...{ name: "owner/name", version: "", files, file },
    facts: readRepository(new Map(json)),
    locate: ({ path, sha256 }) => ({ url: `https://hub.example/${path}`, sha256: sha256 ?? HASH }),
  });
}

/** Returns the reason in the error that a function throws. */
function reasonOf(work: () => unknown): unknown {
  try {
    work();
    return "none";
  } catch (error) {
    return isSelvedgeError(error) ? error.details["reason"] : error;
  }
}

describe("names of ONNX files", () => {
  test("a suffix names the encoding, the longest that fits", () => {
    const found = listGraphs([
      "onnx/model.onnx",
      "onnx/model_q4f16.onnx",
      "onnx/model_fp16.onnx",
      "onnx/model_quantized.onnx",
    ]);
    expect(found.map((x) => [x.base, x.dtype])).toEqual([
      ["model", "fp32"],
      ["model", "fp16"],
      ["model", "q4f16"],
      ["model", "q8"],
    ]);
  });

  test("external data is found under both names, in the order of its numbers", () => {
    const paths = ["onnx/model.onnx", "onnx/model.onnx_data_10", "onnx/model.onnx_data_2", "onnx/model.onnx_data"];
    expect(listGraphs(paths)[0]?.data).toEqual([
      "onnx/model.onnx_data",
      "onnx/model.onnx_data_2",
      "onnx/model.onnx_data_10",
    ]);
    expect(listGraphs(["model.onnx", "model.onnx.data"])[0]?.data).toEqual(["model.onnx.data"]);
    expect(listGraphs(["onnx/model.onnx", "onnx/model.onnx_datasheet", "other.onnx_data"])[0]?.data).toEqual([]);
  });

  test("a small graph is read where a file beside it is led to by no name, as a constant's", () => {
    const mayHide = (paths: readonly string[], path = paths[0] ?? ""): boolean => {
      const graph = listGraphs(paths).find((x) => x.path === path);
      return graph !== undefined && mayHideData(graph, 1_000, paths);
    };
    const named = ["onnx/model.onnx", "onnx/model.onnx_data", "onnx/model_q4.onnx", "onnx/model_q4.onnx_data"];
    expect(mayHide(named)).toBe(false);
    expect(mayHide([...named, "onnx/Constant_7_attr__value"])).toBe(true);
    expect(mayHide(["onnx/renamed.onnx", "onnx/model.onnx_data"])).toBe(true);
    const [graph] = listGraphs(named);
    expect(graph && neighboursOf(graph, [...named, "onnx/Constant_7_attr__value"])).toEqual([
      "onnx/model.onnx_data",
      "onnx/Constant_7_attr__value",
    ]);
  });

  test("any base, encoding and number of parts is read back from its names", () => {
    const base = fc
      .stringMatching(/^[a-z][a-z0-9_]{0,20}[a-z]$/)
      .filter((x) => !Object.keys(DTYPE_BY_SUFFIX).some((y) => y !== "" && x.endsWith(y)));
    const shape = fc.record({
      base,
      suffix: fc.constantFrom(...Object.keys(DTYPE_BY_SUFFIX)),
      parts: fc.nat(12),
      folder: fc.constantFrom("", "onnx/", "a/b/"),
    });
    fc.assert(
      fc.property(shape, ({ base, suffix, parts, folder }) => {
        const path = `${folder}${base}${suffix}.onnx`;
        const data = Array.from({ length: parts }, (_, i) => `${path}_data${i === 0 ? "" : `_${i}`}`);
        const [graph] = listGraphs([...data].reverse().concat(path));
        expect(graph).toEqual({ path, base, dtype: DTYPE_BY_SUFFIX[suffix], data });
      }),
    );
  });

  test("the usual graph is `model` in onnx/, at the top, or the only one", () => {
    const of = (paths: readonly string[], wanted?: string): string[] =>
      chooseGraphs(listGraphs(paths), wanted, "r").map((x) => x.path);
    expect(of(["model.onnx", "onnx/model.onnx", "onnx/model_q4.onnx", "onnx/other.onnx"])).toEqual([
      "onnx/model.onnx",
      "onnx/model_q4.onnx",
    ]);
    expect(of(["yolo.onnx"])).toEqual(["yolo.onnx"]);
    expect(
      of(["onnx/encoder_model.onnx", "onnx/encoder_model_fp16.onnx", "onnx/decoder_model.onnx"], "encoder_model"),
    ).toHaveLength(2);
    expect(of(["onnx/model_qint8_avx512.onnx", "onnx/model.onnx"], "model_qint8_avx512")).toEqual([
      "onnx/model_qint8_avx512.onnx",
    ]);
  });

  test("of models in several folders, as a pipeline's parts, none is taken by chance", () => {
    const parts = ["text_encoder/model.onnx", "unet/model.onnx", "vae_decoder/model.onnx"];
    expect(() => chooseGraphs(listGraphs(parts), undefined, "o/n")).toThrow(
      'o/n has several graphs and they lie in several folders: choose one by `file`: "text_encoder/model.onnx", "unet/model.onnx", "vae_decoder/model.onnx"',
    );
    expect(chooseGraphs(listGraphs(parts), "unet/model.onnx", "o/n").map((x) => x.path)).toEqual(["unet/model.onnx"]);
    expect(chooseGraphs(listGraphs([...parts, "onnx/model.onnx"]), undefined, "o/n").map((x) => x.path)).toEqual([
      "onnx/model.onnx",
    ]);
    expect(chooseGraphs(listGraphs(["cpu/model.onnx"]), undefined, "o/n")).toHaveLength(1);
  });

  test("several graphs without a usual one are named, none is said so", () => {
    const graphs = listGraphs(["onnx/encoder_model.onnx", "onnx/decoder_model_merged.onnx"]);
    expect(() => chooseGraphs(graphs, undefined, "o/n")).toThrow(
      'o/n has several graphs and none is "model": choose one by `file`: "decoder_model_merged", "encoder_model".',
    );
    expect(() => chooseGraphs([], undefined, "o/n")).toThrow("o/n has no .onnx file");
    expect(() => chooseGraphs(graphs, "vision_model", "o/n")).toThrow('o/n has no graph "vision_model"');
  });
});

describe("config.json", () => {
  test("labels come in the order of the classes; a gap gives none", () => {
    expect(readConfig({ id2label: { 0: "a", 1: "b", 2: "c" } }).labels).toEqual(["a", "b", "c"]);
    expect(readConfig({ id2label: { 0: "a", 2: "c" } }).labels).toBeNull();
    expect(readConfig({ id2label: { 0: 1, 1: 2 } }).labels).toEqual(["1", "2"]);
  });

  test("labels that a file leaves out are LABEL_0 and so on, two unless it says how many", () => {
    expect(readConfig({}).labels).toEqual(["LABEL_0", "LABEL_1"]);
    expect(readConfig({ num_labels: 3 }).labels).toEqual(["LABEL_0", "LABEL_1", "LABEL_2"]);
    expect(readConfig({ num_labels: 1 }).problem).toBe("regression");
    expect(readConfig({ num_labels: "3" }).labels).toBeNull();
  });

  test("a head of one class is a score, and a multi-label head is not exclusive", () => {
    expect(readConfig({ id2label: { 0: "LABEL_0" } }).problem).toBe("regression");
    expect(readConfig({ problem_type: "multi_label_classification" }).problem).toBe("multi-label");
    expect(readConfig({ id2label: { 0: "a", 1: "b" } }).problem).toBe("single-label");
    // The softmax of one class is 1 for every text.
    const told = { problem_type: "single_label_classification" };
    expect(readConfig({ ...told, id2label: { 0: "LABEL_0" } }).problem).toBe("regression");
    expect(readConfig({ ...told, id2label: { 0: "a", 1: "b" } }).problem).toBe("single-label");
  });

  test("positions after the padding's do not count", () => {
    expect(readConfig({ model_type: "bert", max_position_embeddings: 512 }).maxPositions).toBe(512);
    expect(readConfig({ model_type: "xlm-roberta", max_position_embeddings: 514 }).maxPositions).toBe(512);
    expect(readConfig({ model_type: "ibert", max_position_embeddings: 514 }).maxPositions).toBe(512);
  });

  test("external data is counted for all graphs, or by graph", () => {
    expect(readConfig({ "transformers.js_config": { use_external_data_format: true } }).externalData).toEqual({
      "*": 1,
    });
    expect(
      readConfig({
        "transformers.js_config": { use_external_data_format: { "model.onnx": 2, "model_q4.onnx": false } },
      }).externalData,
    ).toEqual({ "model.onnx": 2 });
  });
});

describe("tokenizer files", () => {
  test("a length that means no limit is none", () => {
    expect(readTokenizer({ model_max_length: 1e30 }, null).maxLength).toBeNull();
    expect(
      readTokenizer({ model_max_length: 512, model_input_names: ["input_ids", "attention_mask"] }, null),
    ).toMatchObject({
      maxLength: 512,
      inputNames: ["input_ids", "attention_mask"],
    });
  });

  test("the length is that of tokenizer_config.json, whose older name is max_len, not the last one of the training", () => {
    expect(readTokenizer({ max_len: 512 }, null).maxLength).toBe(512);
    expect(readTokenizer({ model_max_length: 1e30 }, { truncation: { max_length: 128 } }).maxLength).toBeNull();
  });

  test("the padding's id is that of its token", () => {
    expect(
      readTokenizer({ pad_token: { content: "<pad>" } }, { added_tokens: [{ id: 7, content: "<pad>" }] }).padId,
    ).toBe(7);
    expect(readTokenizer({ pad_token: "[PAD]", added_tokens_decoder: { 3: { content: "[PAD]" } } }, null).padId).toBe(
      3,
    );
    expect(readTokenizer({}, { padding: { pad_id: 1, direction: "Left" } }).padId).toBe(1);
  });
});

describe("sentence-transformers", () => {
  const modules = [
    { type: "sentence_transformers.models.Transformer", path: "" },
    { type: "sentence_transformers.models.Pooling", path: "1_Pooling" },
    { type: "sentence_transformers.models.Normalize", path: "2_Normalize" },
  ];
  const read = (pooling: unknown, list: unknown = modules): ReturnType<typeof readSentence> =>
    readSentence({ modules: list, pooling, length: { max_seq_length: 256 }, prompts: null });

  test("pooling, normalising and the own length are read", () => {
    expect(poolingPath(modules)).toBe("1_Pooling/config.json");
    expect(read({ pooling_mode_mean_tokens: true, word_embedding_dimension: 384 })).toMatchObject({
      pooling: "mean",
      normalize: true,
      dims: 384,
      maxLength: 256,
      unsupported: null,
    });
    expect(read({ pooling_mode_lasttoken: true, pooling_mode_mean_tokens: false }, modules.slice(0, 2))).toMatchObject({
      pooling: "last",
      normalize: false,
    });
    expect(read({ pooling_mode: "cls" })).toMatchObject({ pooling: "cls" });
  });

  test("another module or mode is named, not guessed", () => {
    expect(read({ pooling_mode: "median" })).toMatchObject({
      ...{ pooling: null, unsupported: "median of 1_Pooling/config.json" },
    });
    const dense = [...modules, { type: "sentence_transformers.models.Dense", path: "3_Dense" }];
    expect(read({ pooling_mode_cls_token: true }, dense)).toMatchObject({
      pooling: null,
      unsupported: "sentence_transformers.models.Dense of modules.json",
    });
    const alone = readSentence({ modules: dense, pooling: null, length: null, prompts: null });
    expect(alone?.unsupported).toBe("sentence_transformers.models.Dense of modules.json");
    const untyped = [...modules, { path: "3_Dense" }];
    expect(read({ pooling_mode: "cls" }, untyped)?.unsupported).toBe("a module without a type of modules.json");
    expect(read({ pooling_mode_cls_token: true, pooling_mode_mean_tokens: true })?.pooling).toBeNull();
    expect(readSentence({ modules, pooling: null, length: null, prompts: null })).toBeNull();
  });

  test("a transformer of the repository's own code is the graph, its own pooling is none that is known", () => {
    const own = (kind: string): unknown[] => modules.map((x) => ({ ...x, type: x.type.replace(/.*(?=\.\w+$)/, kind) }));
    const list = [...modules, { type: "sentence_transformers.models.Dropout", path: "3_Dropout" }];
    expect(
      read({ pooling_mode: "cls" }, [{ type: "custom_st.Transformer", path: "" }, ...list.slice(1)]),
    ).toMatchObject({
      ...{ pooling: "cls", unsupported: null },
    });
    expect(read({ pooling_mode: "cls" }, own("custom"))?.unsupported).toBe("custom.Pooling of modules.json");
    const newer = "sentence_transformers.sentence_transformer.modules.pooling";
    expect(read({ pooling_mode: "cls" }, own(newer))).toMatchObject({ pooling: "cls", normalize: true });
  });

  test("lengths and prompts count without a pooling's file, as where the graph pools itself", () => {
    const prompts = { prompts: { query: "task: search result | query: " }, default_prompt_name: "query" };
    const dense = [...modules, { type: "sentence_transformers.models.Dense", path: "3_Dense" }];
    const own = { pooling: null, length: { max_seq_length: 128 }, prompts };
    expect(readSentence({ modules, ...own })).toMatchObject({
      ...{ pooling: null, unsupported: null, maxLength: 128, prompt: "query", prompts: prompts.prompts },
    });
    expect(readSentence({ modules: dense, ...own })?.unsupported).toBe(
      "sentence_transformers.models.Dense of modules.json",
    );
  });

  test.each([
    ["pooling_mode_mean_tokens", "mean", "mean"],
    ["pooling_mode_cls_token", "cls", "cls"],
    ["pooling_mode_lasttoken", "lasttoken", "last"],
    ["pooling_mode_max_tokens", "max", "max"],
    ["pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens", "sqrt-mean"],
    ["pooling_mode_weightedmean_tokens", "weightedmean", "weighted-mean"],
  ])("%s, of newer files %s, is %s", (field, word, pooling) => {
    expect(read({ [field]: true })).toMatchObject({ pooling, unsupported: null });
    expect(read({ pooling_mode: word })).toMatchObject({ pooling, unsupported: null });
  });

  test("its length wins over the tokenizer's and over the positions", () => {
    const texts = {
      "tokenizer_config.json": { model_max_length: 512 },
      "config.json": { max_position_embeddings: 128 },
    };
    const all = {
      ...texts,
      "1_Pooling/config.json": { pooling_mode_mean_tokens: true },
      "sentence_bert_config.json": { max_seq_length: 256 },
    };
    const mapOf = (x: object): Map<string, string> =>
      new Map(Object.entries(x).map(([path, value]) => [path, JSON.stringify(value)]));
    expect(readRepository(mapOf(texts)).maxLength).toBe(128);
    expect(readRepository(mapOf(all)).maxLength).toBe(256);
  });
});

describe("preprocessor_config.json", () => {
  const resizeOf = (config: object): unknown => readProcessor(config).image?.resize;

  test("both sides are stretched, a shorter side is cropped", () => {
    expect(
      readProcessor({
        image_processor_type: "ViTImageProcessor",
        size: { height: 224, width: 224 },
        image_mean: [0.5, 0.5, 0.5],
        image_std: [0.5, 0.5, 0.5],
      }).image,
    ).toEqual({
      resize: { mode: "resample", filter: "pil-bilinear", to: { width: 224, height: 224 } },
      channels: "rgb",
      scale: 1 / 255,
      mean: [0.5, 0.5, 0.5],
      std: [0.5, 0.5, 0.5],
      layout: "nchw",
    });
    expect(
      resizeOf({
        image_processor_type: "ViTImageProcessor",
        size: { shortest_edge: 256 },
        do_center_crop: true,
        crop_size: { height: 224, width: 224 },
      }),
    ).toEqual({ mode: "resample", filter: "pil-bilinear", to: { short: 256 }, crop: { width: 224, height: 224 } });
  });

  test("a number is the shorter side for the classes that say so", () => {
    const size = { size: 224, crop_size: 224, do_center_crop: true };
    expect(resizeOf({ ...size, feature_extractor_type: "CLIPFeatureExtractor" })).toMatchObject({ to: { short: 224 } });
    expect(resizeOf({ ...size, feature_extractor_type: "ViTFeatureExtractor" })).toMatchObject({ to: { width: 224 } });
    expect(resizeOf({ size: 800, feature_extractor_type: "DetrFeatureExtractor" })).toMatchObject({
      to: { short: 800, long: 1333 },
    });
    expect(resizeOf({ size: 224, crop_pct: 0.875, image_processor_type: "ConvNextImageProcessor" })).toMatchObject({
      to: { short: 256 },
      crop: { width: 224, height: 224 },
    });
  });

  test("newer processors resample as torchvision, and Lanczos is Pillow's", () => {
    const config = { image_processor_type: "ViTImageProcessorFast", size: 224 };
    expect(resizeOf({ ...config, resample: 3 })).toMatchObject({ filter: "torchvision-bicubic" });
    expect(resizeOf({ ...config, resample: 1 })).toMatchObject({ filter: "pil-lanczos" });
    expect(resizeOf({ ...config, resample: 0 })).toMatchObject({ filter: "torchvision-nearest-exact" });
    expect(resizeOf({ ...config, image_processor_type: "ViTImageProcessor", resample: 0 })).toMatchObject({
      filter: "pil-nearest",
    });
  });

  test("a setting, and a class, that the steps don't compute is named", () => {
    const size = { height: 9, width: 9 };
    expect(readProcessor({ size, resample: 5, image_processor_type: "ViTImageProcessor" })).toMatchObject({
      image: null,
      unsupported: "resample",
    });
    expect(readProcessor({ size, image_processor_type: "Pix2StructImageProcessor" })).toMatchObject({
      image: null,
      unsupported: "images as a list of patches",
    });
    expect(readProcessor({ size, image_processor_type: "constructor" }).unsupported).toBe("resample");
  });

  const explicit = {
    image_processor_type: "NewestImageProcessor",
    ...{ do_resize: true, size: { height: 8, width: 9 }, resample: 3, do_center_crop: false, do_rescale: true },
    ...{ do_normalize: true, image_mean: [0.1, 0.2, 0.3], image_std: [1, 2, 3], rescale_factor: 1 / 255 },
    ...{ processor_class: "NewestProcessor", do_convert_rgb: null, do_something: false },
  };

  test("a class without a row is computed where its file states every setting", () => {
    expect(readProcessor(explicit)).toMatchObject({
      unsupported: null,
      image: { mean: [0.1, 0.2, 0.3], std: [1, 2, 3], resize: { filter: "pil-bicubic", to: { width: 9, height: 8 } } },
    });
    expect(resizeOf({ ...explicit, size: { shortest_edge: 8 } })).toMatchObject({ to: { short: 8 } });
    expect(resizeOf({ ...explicit, size: 8, default_to_square: false })).toMatchObject({ to: { short: 8 } });
    const fast = { ...explicit, image_processor_type: "NewestImageProcessorFast" };
    const edges = { size: { shortest_edge: 8, longest_edge: 9 } };
    expect(resizeOf({ ...fast, ...edges })).toMatchObject({ to: { short: 8, long: 9 } });
    const idle = { keep_aspect_ratio: false, ensure_multiple_of: 1, rescale_offset: false };
    expect(readProcessor({ ...explicit, ...idle }).image).toEqual(readProcessor(explicit).image);
    expect(resizeOf({ ...explicit, do_pad: true, pad_size: { height: 9, width: 9 } })).toMatchObject({
      pad: { width: 9, height: 9 },
    });
    expect(readProcessor({ ...explicit, do_normalize: false, image_mean: null }).image).toMatchObject({
      mean: [0, 0, 0],
    });
    expect(readProcessor({ ...explicit, resample: "bicubic" }).image).toMatchObject({
      resize: { filter: "pil-bicubic" },
    });
  });

  test.each<[setting: string, change: object]>([
    ["size", { size: undefined }],
    ["size", { size: 8 }],
    ["size", { size: { shortest_edge: 8, longest_edge: 9 } }],
    ["keep_aspect_ratio", { keep_aspect_ratio: true }],
    ["ensure_multiple_of", { ensure_multiple_of: 14 }],
    ["rescale_offset", { rescale_offset: true }],
    ["do_flip_channel_order", { do_flip_channel_order: true }],
    ["resample", { resample: undefined }],
    ["resample", { resample: "wavelet" }],
    ["do_normalize", { do_normalize: undefined }],
    ["image_mean", { image_mean: undefined }],
    ["image_std", { image_std: [1] }],
    ["do_center_crop", { do_center_crop: undefined, crop_size: { height: 4, width: 4 } }],
    ["crop_size", { do_center_crop: true }],
    ["pad_size", { do_pad: true }],
    ["pad_size", { do_pad: true, pad_size: 8 }],
    ["background_color", { background_color: [127, 127, 127] }],
    ["do_grayscale", { do_grayscale: true }],
    ["antialias", { antialias: false }],
  ])("a class without a row whose %s is missing or unknown is not guessed: %o", (setting, change) => {
    expect(readProcessor({ ...explicit, ...change })).toMatchObject({ image: null, unsupported: setting });
  });

  test("a file without settings describes no picture", () => {
    expect(readProcessor({})).toMatchObject({ image: null, unsupported: "size" });
  });

  test("PoolFormer crops 0.9 of the scaled image, by either form of its size", () => {
    const config = { image_processor_type: "PoolFormerImageProcessor" };
    expect(resizeOf({ ...config, size: { shortest_edge: 224 } })).toMatchObject({ to: { short: 248 } });
    expect(resizeOf({ ...config, size: { height: 224, width: 224 } })).toMatchObject({ to: { short: 248 } });
    expect(resizeOf({ ...config, size: { height: 90, width: 180 } })).toMatchObject({
      to: { width: 200, height: 100 },
    });
  });

  test("the setting for which pictures or sounds are not converted is stated by file, for its input", () => {
    const unsupportedOf = (config: object): unknown =>
      describeFiles(filesOf(["onnx/model.onnx"]), { "preprocessor_config.json": config }).steps.unsupported;
    expect(unsupportedOf({ ...explicit, resample: undefined })).toEqual({
      pixel_values: 'preprocessor_config.json: "resample" of NewestImageProcessor is not supported',
    });
    expect(unsupportedOf({ feature_extractor_type: "OtherFeatureExtractor", sampling_rate: 16_000 })).toMatchObject({
      input_values: 'preprocessor_config.json: "feature_extractor_type" of OtherFeatureExtractor is not supported',
    });
    expect(unsupportedOf(explicit)).toBeUndefined();
  });

  test("a spectrogram's parameters are read", () => {
    const whisper = {
      feature_extractor_type: "WhisperFeatureExtractor",
      feature_size: 80,
      sampling_rate: 16_000,
      hop_length: 160,
      n_fft: 400,
      chunk_length: 30,
    };
    expect(readProcessor(whisper)).toMatchObject({ isSound: true, image: null, unsupported: null });
    expect(readProcessor(whisper).sound).toEqual({
      op: "log-mel",
      sampleRate: 16_000,
      bands: 80,
      hopLength: 160,
      fftLength: 400,
      seconds: 30,
    });
    const { feature_extractor_type } = whisper;
    expect(readProcessor({ feature_extractor_type, feature_size: 128 }).sound).toEqual({
      ...{ op: "log-mel", sampleRate: 16_000, bands: 128, hopLength: 160, fftLength: 400, seconds: 30 },
    });
    expect(readProcessor({ ...whisper, n_fft: 1.5 })).toMatchObject({ sound: null, unsupported: "n_fft" });
    expect(readProcessor({ ...whisper, do_normalize: true })).toMatchObject({ unsupported: "do_normalize" });
    expect(readProcessor({ ...whisper, dither: 0.1, padding_value: 0 })).toMatchObject({ unsupported: "dither" });
    const steps = describeFiles(filesOf(["onnx/encoder_model.onnx"]), { "preprocessor_config.json": whisper }).steps;
    expect(steps.sounds).toMatchObject({ input_features: { bands: 80, seconds: 30 } });
  });
});

describe("models of sounds", () => {
  const heads = { config: "Wav2Vec2ForSequenceClassification", ctc: "HubertForCTC" };
  const wave = {
    do_normalize: true,
    feature_size: 1,
    padding_side: "right",
    padding_value: 0,
    return_attention_mask: true,
    sampling_rate: 16_000,
  };
  const of = (architecture: string, files: Record<string, unknown>): PortSteps =>
    describeFiles(filesOf(["onnx/model.onnx"]), {
      "config.json": { architectures: [architecture], id2label: { 0: "no", 1: "yes" }, vocab_size: 6 },
      "preprocessor_config.json": wave,
      ...files,
    }).steps;

  test("a file without a class is that of samples, which it scales or not", () => {
    const samples = { op: "samples", sampleRate: 16_000, mask: "attention_mask" };
    expect(of(heads.config, {}).sounds).toEqual({ input_values: { ...samples, normalize: true } });
    const raw = { ...wave, feature_extractor_type: "Wav2Vec2FeatureExtractor", do_normalize: false };
    expect(of(heads.config, { "preprocessor_config.json": raw }).sounds).toEqual({
      input_values: { ...samples, normalize: false },
    });
    for (const change of [{ feature_size: 2 }, { do_normalize: undefined }, { num_mel_bins: 80 }])
      expect(of(heads.config, { "preprocessor_config.json": { ...wave, ...change } }).sounds).toBeUndefined();
    expect(readProcessor({ ...raw, feature_size: 80 }).unsupported).toBe("feature_size");
  });

  test("their classes are labels, of one or of many", () => {
    expect(of(heads.config, {}).decodes).toMatchObject({ logits: { op: "labels", logits: true } });
  });

  test("a filter bank is that of 16 kHz", () => {
    const ast = { feature_extractor_type: "ASTFeatureExtractor", sampling_rate: 16_000, max_length: 512 };
    expect(readProcessor(ast).sound).toEqual({
      ...{ op: "fbank", sampleRate: 16_000, bands: 128, frames: 512, mean: -4.2677393, std: 9.1379948 },
    });
    expect(readProcessor({ ...ast, sampling_rate: 8_000 }).unsupported).toBe("sampling_rate");
    expect(readProcessor({ ...ast, num_mel_bins: 0 }).unsupported).toBe("num_mel_bins");
  });

  test("texts by CTC have the lines of vocab.json, with the blank's class", () => {
    const vocabulary = { A: 0, B: 1, "|": 2, "[UNK]": 3, "[PAD]": 4 };
    const files = { "vocab.json": vocabulary, "tokenizer_config.json": { pad_token: "[PAD]" } };
    const { decodes, assets } = of(heads.ctc, files);
    expect(decodes).toEqual({ logits: { op: "ctc", asset: "labels.txt", blank: 4, logits: true } });
    expect(assets["labels.txt"]).toBe("A\nB\n \n[UNK]\n[PAD]\n\n");
  });

  test("a vocabulary of several languages, of another tokenizer, or without a blank decodes nothing", () => {
    const other = { "tokenizer_config.json": { tokenizer_class: "Wav2Vec2PhonemeCTCTokenizer" } };
    for (const files of [
      { "vocab.json": { eng: { "<pad>": 0, a: 1 } } },
      { "vocab.json": { a: 0, b: 1 } },
      { "vocab.json": { "<pad>": 0, a: 1 }, ...other },
      {},
    ])
      expect(of(heads.ctc, files).decodes).toEqual({});
  });

  test("vocab.json is fetched for a model that needs it alone", () => {
    const text = (architecture: string): ReadonlyMap<string, string> =>
      new Map([["config.json", JSON.stringify({ architectures: [architecture] })]]);
    expect(furtherFiles(text("HubertForCTC"))).toEqual(["vocab.json"]);
    expect(furtherFiles(text("BertForMaskedLM"))).toEqual([]);
    expect(furtherFiles(new Map())).toEqual([]);
  });

  test("a pooling in a folder of another name is fetched by modules.json", () => {
    const modules = (path: string): [string, string] => ["modules.json", JSON.stringify([{ type: "x.Pooling", path }])];
    expect(furtherFiles(new Map([modules("pooler")]))).toEqual(["pooler/config.json"]);
    expect(furtherFiles(new Map([modules("2_Pooling"), ["2_Pooling/config.json", "{}"]]))).toEqual([]);
    expect(furtherFiles(new Map([modules("1_Pooling")]))).toEqual([]);
  });
});

test("the padding's id is carried to the texts, from the tokenizer's files or from config.json", () => {
  const padOf = (texts: Readonly<Record<string, unknown>>): number | undefined => {
    const files = filesOf(["onnx/model.onnx", "tokenizer.json"]);
    return describeFiles(files, { "tokenizer_config.json": {}, ...texts }).steps.texts["input_ids"]?.padId;
  };
  const tokenizer = { pad_token: "<pad>", added_tokens_decoder: { 1: { content: "<pad>" } } };
  expect(padOf({ "tokenizer_config.json": tokenizer })).toBe(1);
  expect(padOf({ "config.json": { pad_token_id: 3 } })).toBe(3);
  expect(padOf({ "config.json": { pad_token_id: 1.5 } })).toBeUndefined();
  expect(padOf({})).toBeUndefined();
  const alone = describeFiles(filesOf(["onnx/model.onnx", "tokenizer.json"]), { "config.json": { pad_token_id: 3 } });
  expect(alone.steps.texts["input_ids"]?.padId, "without tokenizer_config.json").toBe(3);
});

test("a tokenizer without tokenizer.json is named where a text is given, unless it is that of a sound's texts", () => {
  const reasonsOf = (texts: Readonly<Record<string, unknown>>, paths = ["onnx/model.onnx"]): unknown =>
    describeFiles(filesOf(paths), { "tokenizer_config.json": { tokenizer_class: "BertTokenizer" }, ...texts }).steps
      .unsupported;
  expect(reasonsOf({})).toMatchObject({ input_ids: expect.stringContaining("has no tokenizer.json") as unknown });
  expect(reasonsOf({}, ["onnx/model.onnx", "tokenizer.json"])).toBeUndefined();
  expect(
    reasonsOf({ "preprocessor_config.json": { sampling_rate: 16_000, feature_size: 1, do_normalize: true } }),
  ).toBe(undefined);
});

test("the length of a text is read from the file's older names too, where the usual one is not there", () => {
  const names = ["sentence_bert_config.json", "sentence_xlm-roberta_config.json"];
  expect(filesToRead([...names, "sentence_other.json"])).toEqual(names);
  const lengthOf = (files: readonly (readonly [string, number])[]): number | null => {
    const lengths = files.map(([path, max]) => [path, JSON.stringify({ max_seq_length: max })] as const);
    return readRepository(new Map([["1_Pooling/config.json", '{"pooling_mode":"mean"}'], ...lengths])).maxLength;
  };
  expect(lengthOf([["sentence_xlm-roberta_config.json", 128]])).toBe(128);
  expect(
    lengthOf([
      ["sentence_xlm-roberta_config.json", 128],
      ["sentence_bert_config.json", 256],
    ]),
  ).toBe(256);
});

test("the side that texts are truncated at, and lower case, are carried to the texts", () => {
  const textOf = (texts: Readonly<Record<string, unknown>>): unknown =>
    describeFiles(filesOf(["onnx/model.onnx", "tokenizer.json"]), texts).steps.texts["input_ids"];
  expect(textOf({ "tokenizer_config.json": { truncation_side: "left" } })).toMatchObject({ keeps: "end" });
  expect(textOf({ "tokenizer_config.json": { truncation_side: "right" } })).toMatchObject({ keeps: "begin" });
  expect(textOf({ "tokenizer_config.json": {} })).not.toHaveProperty("keeps");
  const sentence = { "1_Pooling/config.json": { pooling_mode_cls_token: true } };
  const lower = { ...sentence, "sentence_bert_config.json": { max_seq_length: 512, do_lower_case: true } };
  expect(textOf(lower)).toMatchObject({ lowercase: true });
  expect(textOf(sentence)).not.toHaveProperty("lowercase");
});

test("texts of sentence-transformers lose the white space at their ends where the release that wrote the files strips them", () => {
  const textOf = (texts: Readonly<Record<string, unknown>>): unknown =>
    describeFiles(filesOf(["onnx/model.onnx", "tokenizer.json"]), texts).steps.texts["input_ids"];
  expect(textOf({ "1_Pooling/config.json": { pooling_mode: "mean" } })).toMatchObject({ trim: true });
  expect(textOf({ "config.json": {} })).not.toHaveProperty("trim");
  const writtenBy = (version: string): unknown =>
    textOf({
      "1_Pooling/config.json": { pooling_mode: "mean" },
      "config_sentence_transformers.json": { __version__: { sentence_transformers: version } },
    });
  for (const version of ["2.0.0", "4.52.1", "5.3.0"]) expect(writtenBy(version)).toMatchObject({ trim: true });
  for (const version of ["5.4.0", "5.10.0", "6.0.0.dev0"]) expect(writtenBy(version)).not.toHaveProperty("trim");
});

test("positions from 0 are filled, except for models that count from their padding's", () => {
  const textOf = (type: string): unknown =>
    describeFiles(filesOf(["onnx/model.onnx", "tokenizer.json"]), {
      "config.json": { model_type: type, max_position_embeddings: 100 },
    }).steps.texts["input_ids"];
  expect(textOf("qwen2")).toMatchObject({ positions: "position_ids" });
  expect(textOf("roberta")).not.toHaveProperty("positions");
});

test("texts beside SigLIP's pictures are padded to 64 tokens: the model has no mask, and reads the last one", () => {
  const textOf = (processor: object, length = 1e30, file = "preprocessor_config.json"): unknown =>
    describeFiles(filesOf(["onnx/text_model.onnx", "tokenizer.json"]), {
      [file]: processor,
      "tokenizer_config.json": { model_max_length: length },
    }).steps.texts["input_ids"];
  const siglip = { image_processor_type: "SiglipImageProcessor", processor_class: "SiglipProcessor" };
  const siglip2 = { image_processor_type: "Siglip2ImageProcessor", processor_class: "Siglip2Processor" };
  for (const processor of [siglip, { ...siglip, image_processor_type: "SiglipImageProcessorFast" }, siglip2])
    expect(textOf(processor)).toMatchObject({ maxLength: 64, fill: true });
  expect(textOf(siglip, 16)).toMatchObject({ maxLength: 16, fill: true });
  const { processor_class, ...image_processor } = siglip;
  expect(textOf({ image_processor, processor_class }, 64, "processor_config.json")).toMatchObject({ fill: true });
  // Of a model that writes texts, and of one that has a mask.
  const clip = { image_processor_type: "CLIPImageProcessor", processor_class: "CLIPProcessor" };
  for (const processor of [{ ...siglip, processor_class: "PaliGemmaProcessor" }, clip])
    expect(textOf(processor)).toMatchObject({ maxLength: 512 });
  expect(textOf(clip)).not.toHaveProperty("fill");
});

test("files that are not at the top are read beside the graphs, where some exporters leave them", () => {
  const config = (label: string) => ({
    ...{ architectures: ["BertForSequenceClassification"], id2label: { 0: label, 1: "no" } },
  });
  const beside = { "onnx/config.json": config("beside"), "onnx/tokenizer_config.json": { model_max_length: 128 } };
  const paths = ["onnx/model.onnx", "onnx/tokenizer.json", ...Object.keys(beside)];
  expect(filesToRead(paths)).toEqual(Object.keys(beside));
  const { steps, assets } = describeFiles(filesOf(paths), beside);
  expect(steps).toMatchObject({
    texts: { input_ids: { maxLength: 128 } },
    assets: { "labels.txt": "beside\nno\n" },
  });
  expect(assets).toMatchObject([{ path: "tokenizer.json", url: "https://hub.example/onnx/tokenizer.json" }]);
  const both = [...paths, "config.json", "tokenizer.json"];
  expect(filesToRead(both)).toEqual(["onnx/tokenizer_config.json", "config.json"]);
  const top = describeFiles(filesOf(both), { ...beside, "config.json": config("top") });
  expect(top.steps.assets["labels.txt"]).toBe("top\nno\n");
  expect(top.assets[0]?.url).toBe("https://hub.example/tokenizer.json");
});

test("a pooling named as a property of every object is no mode", () => {
  const facts = readSentence({ modules: [], pooling: { pooling_mode: "constructor" }, length: null, prompts: null });
  expect(facts).toMatchObject({ pooling: null, unsupported: "constructor of 1_Pooling/config.json" });
});

test("sentence-transformers 6 names one mode, or a list of modes, which are not computed", () => {
  const read = (pooling: unknown) => readSentence({ modules: [], pooling, length: null, prompts: null });
  expect(read({ pooling_mode: "cls" })).toMatchObject({ pooling: "cls", unsupported: null });
  expect(read({ pooling_mode: ["lasttoken"] })).toMatchObject({ pooling: "last", unsupported: null });
  expect(read({ pooling_mode: ["mean", "max"] })).toMatchObject({
    pooling: null,
    unsupported: "mean + max of 1_Pooling/config.json",
  });
  // Fields of older files beside it count for nothing.
  const both = { pooling_mode: "cls", pooling_mode_mean_tokens: true, pooling_mode_max_tokens: true };
  expect(read(both)).toMatchObject({ pooling: "cls", unsupported: null });
});

test("generation_config.json: one end or several", () => {
  expect(readGeneration({ eos_token_id: [1, 2], max_new_tokens: 64, do_sample: true })).toMatchObject({
    endIds: [1, 2],
    maxNewTokens: 64,
    samples: true,
  });
  expect(readGeneration({ eos_token_id: 2, decoder_start_token_id: 5 })).toMatchObject({
    endIds: [2],
    decoderStartId: 5,
  });
});

test("no value of any type makes a reader throw", () => {
  const keys = [
    "id2label",
    "size",
    "crop_size",
    "modules",
    "pooling_mode",
    "model_max_length",
    "eos_token_id",
    "padding",
    "pad_token",
    "image_mean",
    "transformers.js_config",
    "prompts",
  ];
  const value = fc.oneof(
    fc.jsonValue(),
    fc.dictionary(fc.constantFrom(...keys, "shortest_edge", "0", "type", "path"), fc.jsonValue()),
  );
  const json = fc.oneof(
    fc.jsonValue(),
    fc.dictionary(fc.constantFrom(...keys), value),
    fc.array(value),
  ) as fc.Arbitrary<unknown>;
  fc.assert(
    fc.property(json, json, (a, b) => {
      for (const read of [readConfig, readProcessor, readGeneration, readTree, poolingPath]) read(a);
      readTokenizer(a, b);
      readSentence({ modules: a, pooling: b, length: a, prompts: b });
    }),
  );
});

describe("lists and pointers", () => {
  test("the hub's list: LFS files by hash, others without, folders and odd paths left out", () => {
    const tree = [
      { type: "directory", path: "onnx" },
      { type: "file", path: "config.json", size: 20, oid: "abc" },
      { type: "file", path: "onnx/model.onnx", size: 134, lfs: { oid: HASH, size: 5_000, pointerSize: 134 } },
      { type: "file", path: "../evil.onnx", size: 1 },
    ];
    expect(readTree(tree)).toEqual([
      { path: "config.json", bytes: 20, sha256: null, oid: "abc" },
      { path: "onnx/model.onnx", bytes: 5_000, sha256: HASH, oid: null },
    ]);
  });

  test("a pointer states hash and size", () => {
    expect(pointerOf(`version https://git-lfs.github.com/spec/v1\noid sha256:${HASH}\nsize 5000\n`)).toEqual({
      sha256: HASH,
      bytes: 5_000,
    });
    expect(pointerOf("{}")).toBeNull();
  });

  test("a model card's licence", () => {
    expect(licenceOf("---\ntags:\n- x\nlicense: apache-2.0\n---\n# Model")).toBe("apache-2.0");
    expect(licenceOf("# license: mit")).toBeNull();
  });

  test("only small files of the layout are read", () => {
    expect(
      filesToRead(["config.json", "README.md", "2_Pooling/config.json", "onnx/config.json", "tokenizer.json"]),
    ).toEqual(["config.json", "2_Pooling/config.json"]);
  });
});

describe("descriptions", () => {
  test("each encoding is a variant with its data, by the path in the graph", () => {
    const files = filesOf(["onnx/model.onnx", "onnx/model.onnx_data", "onnx/model_q4.onnx", "tokenizer.json"]);
    const { variants, assets, steps } = describeFiles(files, {
      "config.json": {},
      "tokenizer_config.json": { model_max_length: 128 },
    });
    expect(variants.map((x) => [x.id, x.files.map((y) => y.path)])).toEqual([
      ["fp32", ["model.onnx", "model.onnx_data"]],
      ["q4", ["model_q4.onnx"]],
    ]);
    expect(assets.map((x) => x.path)).toEqual(["tokenizer.json"]);
    expect(steps.texts["input_ids"]).toMatchObject({ maxLength: 128, types: "token_type_ids" });
  });

  test("four bits are no default beside a finer encoding, and are where there is none", () => {
    const [fp32, q4] = describeFiles(filesOf(["onnx/model.onnx", "onnx/model_q4.onnx"])).variants;
    expect([fp32?.unchecked, q4?.unchecked]).toEqual([undefined, ["webgpu", "wasm"]]);
    expect(describeFiles(filesOf(["onnx/model_q4.onnx"])).variants[0]?.unchecked).toBeUndefined();
  });

  test("float16 alone runs anywhere, beside others on a GPU with the feature, and by its name on wasm", () => {
    expect(describeFiles(filesOf(["onnx/model_fp16.onnx"])).variants[0]?.needs).toEqual([]);
    const both = describeFiles(filesOf(["onnx/model_fp16.onnx", "onnx/model.onnx"])).variants;
    expect(both.find((x) => x.id === "fp16")?.needs).toEqual(["webgpu", "shader-f16"]);
    expect(both.map((x) => x.named)).toEqual([undefined, ["wasm"]]);
  });

  test("a missing part is named, by the numbers and by config.json", () => {
    const gap = filesOf(["onnx/model.onnx", "onnx/model.onnx_data", "onnx/model.onnx_data_2"]);
    expect(() => describeFiles(gap)).toThrow("owner/name lacks onnx/model.onnx_data_1, a part of the model's weights");
    const told = { "config.json": { "transformers.js_config": { use_external_data_format: { "model.onnx": 2 } } } };
    expect(() => describeFiles(filesOf(["onnx/model.onnx", "onnx/model.onnx_data"]), told)).toThrow(
      "onnx/model.onnx_data_1",
    );
  });

  test("labels decode a classifier's logits, not a score's", () => {
    const architectures = ["BertForSequenceClassification"];
    const labels = { "config.json": { architectures, id2label: { 0: "no", 1: "yes" } } };
    expect(describeFiles(filesOf(["model.onnx"]), labels).steps).toMatchObject({
      decodes: { logits: { op: "labels" } },
      assets: { "labels.txt": "no\nyes\n" },
    });
    expect(
      describeFiles(filesOf(["model.onnx"]), { "config.json": { architectures, id2label: { 0: "LABEL_0" } } }).steps
        .decodes,
    ).toEqual({});
  });

  test("a file without a size, and one that is not JSON, are refused by name", () => {
    expect(reasonOf(() => describeFiles([{ path: "model.onnx", bytes: null, sha256: null, oid: null }]))).toBe(
      "no-size",
    );
    expect(reasonOf(() => readRepository(new Map([["config.json", "<html>"]])))).toBe("not-json");
  });
});

test("numbers that Python writes and JSON has not are read as null; texts that hold their names stay", () => {
  const config =
    '{"model_type":"mamba2","time_step_limit":[0.0,Infinity,-Infinity,NaN],"id2label":{"0":"Infinity \\" NaN","1":"b"}}';
  expect(readRepository(new Map([["config.json", config]])).config?.labels).toEqual(['Infinity " NaN', "b"]);
  expect(() => readRepository(new Map([["config.json", "{Infinity"]]))).toThrow("config.json is not JSON");
});

test("a processor in a file of several, as transformers 5 writes it, is read where it has no file of its own", () => {
  const own = { image_processor_type: "ViTImageProcessor", size: { height: 32, width: 32 } };
  const both = { image_processor: own, processor_class: "SomeProcessor" };
  const read = (texts: Record<string, unknown>) =>
    readRepository(new Map(Object.entries(texts).map(([x, y]) => [x, JSON.stringify(y)]))).processor;
  expect(read({ "processor_config.json": both })?.image?.resize).toMatchObject({ to: { width: 32, height: 32 } });
  expect(read({ "processor_config.json": { processor_class: "SomeProcessor" } })).toBeNull();
  const other = { ...own, size: { height: 48, width: 48 } };
  expect(read({ "processor_config.json": both, "preprocessor_config.json": other })?.image?.resize).toMatchObject({
    to: { width: 48, height: 48 },
  });
  const sound = { feature_extractor: { feature_extractor_type: "NewestFeatureExtractor", sampling_rate: 8_000 } };
  expect(describeFiles(filesOf(["model.onnx"]), { "processor_config.json": sound }).steps.unsupported).toMatchObject({
    input_values: 'processor_config.json: "feature_extractor_type" of NewestFeatureExtractor is not supported',
  });
});

test("a mean of another number of channels is no usual one: pictures are not converted", () => {
  const config = { image_processor_type: "ViTImageProcessor", size: { height: 28, width: 28 } };
  expect(readProcessor({ ...config, image_mean: [0.5], image_std: [0.5] })).toMatchObject({
    image: null,
    unsupported: "image_mean",
  });
  expect(readProcessor({ ...config, image_std: [1, 1] }).unsupported).toBe("image_std");
  expect(readProcessor({ ...config, image_mean: [0.5], do_normalize: false }).unsupported).toBeNull();
});
