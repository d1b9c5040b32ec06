// Repositories in the Hugging Face layout for tests, made by the project's own ONNX writer: a text classifier, an image
// classifier, a detector, a segmentation model, Whisper's parts, a model that writes by CTC, and an encoder of sentence-transformers whose weights are
// external data. None is trained.
import { create } from "@bufbuild/protobuf";
import { StringStringEntryProtoSchema, TensorProto_DataLocation } from "../../lib/compress/onnx/onnx.gen.js";
import type { OnnxModel } from "../../lib/compress/onnx/model.ts";
import { setDims } from "../../lib/compress/simplify/set-dims.ts";
import type { RepoFiles } from "../../lib/test-support/hub-server.ts";
import { SPECIAL, wordTokenizer } from "../../lib/test-support/word-tokenizer.ts";
import { modelOf } from "../../lib/test-support/onnx/onnx-graphs.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const WORDS = [...SPECIAL, "good", "bad", "film", "dog"];
/** Its ids are the places in WORDS. */
const TOKENIZER = wordTokenizer(WORDS.slice(SPECIAL.length));

/** Names of the special tokens, as tokenizer_config.json has them. */
const MARKS = { pad_token: "[PAD]", unk_token: "[UNK]", cls_token: "[CLS]", sep_token: "[SEP]" };

const IDS = { dtype: "int64", dims: [2, 4] } as const;
const ROWS = ["batch_size", "sequence_length"];
/** Numbers of a word's vector. */
const WIDTH = 4;

/** Score of a class for a token. */
export const weightOf = (token: number, column: number): number => Math.sin(token * 3 + column);

const table = (columns: number): number[] =>
  Array.from({ length: WORDS.length * columns }, (_, i) => weightOf(Math.floor(i / columns), i % columns));

/** A classifier: the sum of a weight for each token under the mask; the token types count where they are not 0. */
function textModel(): Bytes {
  const model = modelOf({
    inputs: { input_ids: IDS, attention_mask: IDS, token_type_ids: IDS },
    constants: {
      table: { dtype: "float32", dims: [WORDS.length, 3], values: table(3) },
      types: { dtype: "float32", dims: [2, 3], values: [0, 0, 0, 5, 0, -5] },
      last: { dtype: "int64", dims: [1], values: [2] },
      middle: { dtype: "int64", dims: [1], values: [1] },
    },
    outputs: ["logits"],
    nodes: [
      { opType: "Gather", input: ["table", "input_ids"], output: ["words"] },
      { opType: "Gather", input: ["types", "token_type_ids"], output: ["kinds"] },
      { opType: "Add", input: ["words", "kinds"], output: ["sum"] },
      { opType: "Cast", input: ["attention_mask"], output: ["mask"], attributes: { to: 1 } },
      { opType: "Unsqueeze", input: ["mask", "last"], output: ["wide"] },
      { opType: "Mul", input: ["sum", "wide"], output: ["kept"] },
      { opType: "ReduceSum", input: ["kept", "middle"], output: ["logits"], attributes: { keepdims: 0 } },
    ],
  });
  return withRows(model, ["input_ids", "attention_mask", "token_type_ids"]).write();
}

/** Weight of each word in the score of a pair. */
const SCORES: Readonly<Record<string, number>> = { good: 2, bad: -2, dog: -0.5 };

/** A cross-encoder: the sum of the scores of the second text's words. */
function pairModel(): Bytes {
  const model = modelOf({
    inputs: { input_ids: IDS, attention_mask: IDS, token_type_ids: IDS },
    constants: {
      table: { dtype: "float32", dims: [WORDS.length, 1], values: WORDS.map((x) => SCORES[x] ?? 0) },
      last: { dtype: "int64", dims: [1], values: [2] },
      middle: { dtype: "int64", dims: [1], values: [1] },
    },
    outputs: ["logits"],
    nodes: [
      { opType: "Gather", input: ["table", "input_ids"], output: ["words"] },
      { opType: "Mul", input: ["attention_mask", "token_type_ids"], output: ["second"] },
      { opType: "Cast", input: ["second"], output: ["mask"], attributes: { to: 1 } },
      { opType: "Unsqueeze", input: ["mask", "last"], output: ["wide"] },
      { opType: "Mul", input: ["words", "wide"], output: ["kept"] },
      { opType: "ReduceSum", input: ["kept", "middle"], output: ["logits"], attributes: { keepdims: 0 } },
    ],
  });
  return withRows(model, ["input_ids", "attention_mask", "token_type_ids"]).write();
}

/** A classifier of pictures: the mean of each channel. */
function imageModel(input: string): Bytes {
  return modelOf({
    inputs: { [input]: { dtype: "float32", dims: [1, 3, 8, 8] } },
    outputs: ["logits"],
    nodes: [
      { opType: "GlobalAveragePool", input: [input], output: ["mean"] },
      { opType: "Flatten", input: ["mean"], output: ["logits"], attributes: { axis: 1 } },
    ],
  }).write();
}

/** An encoder whose vectors are the rows of a table, which is external data in two files. */
function encoderModel(names: readonly [string, string]): { graph: Bytes; data: readonly [Bytes, Bytes] } {
  const model = modelOf({
    inputs: { input_ids: IDS, attention_mask: IDS },
    constants: {
      table: { dtype: "float32", dims: [WORDS.length, WIDTH], values: table(WIDTH) },
      shift: { dtype: "float32", dims: [WIDTH], values: [1, 2, 3, 4] },
    },
    outputs: ["last_hidden_state"],
    nodes: [
      { opType: "Gather", input: ["table", "input_ids"], output: ["words"] },
      { opType: "Add", input: ["words", "shift"], output: ["last_hidden_state"] },
    ],
  });
  const data = (model.proto.graph?.initializer ?? []).map((tensor, i) => {
    const bytes = new Uint8Array(tensor.rawData);
    const fields = { location: names[i] ?? "", offset: "0", length: String(bytes.length) };
    tensor.rawData = new Uint8Array();
    tensor.dataLocation = TensorProto_DataLocation.EXTERNAL;
    tensor.externalData = Object.entries(fields).map(([key, value]) =>
      create(StringStringEntryProtoSchema, { key, value }),
    );
    return bytes;
  });
  return {
    graph: withRows(model, ["input_ids", "attention_mask"]).write(),
    data: [data[0] as Bytes, data[1] as Bytes],
  };
}

function withRows(model: OnnxModel, inputs: readonly string[]): OnnxModel {
  return model.transform(setDims(Object.fromEntries(inputs.map((x) => [x, ROWS]))));
}

/** A text classifier of three classes. */
export function textRepository(): RepoFiles {
  return {
    "config.json": JSON.stringify({
      architectures: ["BertForSequenceClassification"],
      model_type: "bert",
      id2label: { 0: "NEGATIVE", 1: "NEUTRAL", 2: "POSITIVE" },
    }),
    // It names no token types, which the graph wants.
    "tokenizer_config.json": JSON.stringify({
      ...MARKS,
      model_max_length: 16,
      model_input_names: ["input_ids", "attention_mask"],
    }),
    "tokenizer.json": TOKENIZER,
    "onnx/model.onnx": textModel(),
  };
}

/** A cross-encoder with one score, the sum of SCORES. */
export function crossEncoderRepository(): RepoFiles {
  return {
    "config.json": JSON.stringify({
      architectures: ["BertForSequenceClassification"],
      model_type: "bert",
      num_labels: 1,
    }),
    "tokenizer_config.json": JSON.stringify({ ...MARKS, model_max_length: 16 }),
    "tokenizer.json": TOKENIZER,
    "onnx/model.onnx": pairModel(),
  };
}

/** An image classifier of three classes. */
export function imageRepository(input = "pixel_values"): RepoFiles {
  return {
    "config.json": JSON.stringify({
      architectures: ["ViTForImageClassification"],
      model_type: "vit",
      id2label: { 0: "red", 1: "green", 2: "blue" },
    }),
    "preprocessor_config.json": JSON.stringify({
      image_processor_type: "ViTImageProcessor",
      size: { height: 8, width: 8 },
      image_mean: [0.5, 0.5, 0.5],
      image_std: [0.5, 0.5, 0.5],
    }),
    "onnx/model.onnx": imageModel(input),
  };
}

/** An encoder of sentence-transformers, with external data of the given names. */
export function encoderRepository(
  names: readonly [string, string] = ["model.onnx_data", "model.onnx_data_1"],
): RepoFiles {
  const { graph, data } = encoderModel(names);
  return {
    "config.json": JSON.stringify({ architectures: ["BertModel"], model_type: "bert", hidden_size: WIDTH }),
    "tokenizer_config.json": JSON.stringify({ ...MARKS, model_max_length: 16 }),
    "tokenizer.json": TOKENIZER,
    "modules.json": JSON.stringify([
      { idx: 0, type: "sentence_transformers.models.Transformer", path: "" },
      { idx: 1, type: "sentence_transformers.models.Pooling", path: "1_Pooling" },
      { idx: 2, type: "sentence_transformers.models.Normalize", path: "2_Normalize" },
    ]),
    "1_Pooling/config.json": JSON.stringify({ word_embedding_dimension: WIDTH, pooling_mode_mean_tokens: true }),
    "sentence_bert_config.json": JSON.stringify({ max_seq_length: 6 }),
    "onnx/model.onnx": graph,
    [`onnx/${names[0]}`]: data[0],
    [`onnx/${names[1]}`]: data[1],
  };
}

/** A pixel in [0, 1] as ImageNet's processors normalise it, by channel. */
const IMAGENET = { image_mean: [0.485, 0.456, 0.406], image_std: [0.229, 0.224, 0.225] };

/**
 * A detector of one box, whose scores count only under the pixel mask, as the exports of DETR have it: a mask of 64 × 64. A red
 * picture is a dog, any other a cat; the box is the middle half of the picture.
 */
export function detectorRepository(): RepoFiles {
  const model = modelOf({
    inputs: {
      pixel_values: { dtype: "float32", dims: [1, 3, 8, 8] },
      pixel_mask: { dtype: "int64", dims: [1, 64, 64] },
    },
    constants: {
      all: { dtype: "int64", dims: [3], values: [0, 1, 2] },
      pixels: { dtype: "int64", dims: [2], values: [2, 3] },
      one: { dtype: "int64", dims: [3], values: [1, 1, 1] },
      row: { dtype: "int64", dims: [3], values: [1, 1, 3] },
      cat: { dtype: "float32", dims: [1, 1, 3], values: [8, 0, 0] },
      // Of the channels' means the red one speaks for a dog, and the others against it.
      toDog: { dtype: "float32", dims: [3, 3], values: [0, 6, 0, 0, -6, 0, 0, -6, 0] },
      box: { dtype: "float32", dims: [1, 1, 4], values: [0.5, 0.5, 0.5, 0.5] },
    },
    outputs: ["logits", "pred_boxes"],
    nodes: [
      { opType: "Cast", input: ["pixel_mask"], output: ["mask"], attributes: { to: 1 } },
      { opType: "ReduceMean", input: ["mask", "all"], output: ["share"], attributes: { keepdims: 1 } },
      { opType: "Mul", input: ["cat", "share"], output: ["cats"] },
      { opType: "ReduceMean", input: ["pixel_values", "pixels"], output: ["means"], attributes: { keepdims: 0 } },
      { opType: "MatMul", input: ["means", "toDog"], output: ["dogs"] },
      { opType: "Reshape", input: ["dogs", "row"], output: ["dogRow"] },
      { opType: "Add", input: ["cats", "dogRow"], output: ["logits"] },
      { opType: "Mul", input: ["box", "share"], output: ["pred_boxes"] },
    ],
  });
  const dims = { pixel_values: ["batch", 3, "height", "width"], pixel_mask: ["batch", 64, 64] };
  return {
    "config.json": JSON.stringify({
      architectures: ["DetrForObjectDetection"],
      model_type: "detr",
      id2label: { 0: "cat", 1: "dog" },
    }),
    "preprocessor_config.json": JSON.stringify({
      image_processor_type: "DetrImageProcessor",
      size: { shortest_edge: 16, longest_edge: 32 },
      ...IMAGENET,
    }),
    "onnx/model.onnx": model.transform(setDims(dims)).write(),
  };
}

/** A segmentation model of three classes: the mean of each channel over 4 × 4 pixels. */
export function segmenterRepository(): RepoFiles {
  const model = modelOf({
    inputs: { pixel_values: { dtype: "float32", dims: [1, 3, 16, 16] } },
    outputs: ["logits"],
    nodes: [
      {
        opType: "AveragePool",
        input: ["pixel_values"],
        output: ["logits"],
        attributes: { kernel_shape: [4, 4], strides: [4, 4] },
      },
    ],
  });
  return {
    "config.json": JSON.stringify({
      architectures: ["SegformerForSemanticSegmentation"],
      model_type: "segformer",
      id2label: { 0: "red", 1: "green", 2: "blue" },
    }),
    "preprocessor_config.json": JSON.stringify({
      image_processor_type: "SegformerImageProcessor",
      size: { height: 16, width: 16 },
      image_mean: [0.5, 0.5, 0.5],
      image_std: [0.5, 0.5, 0.5],
    }),
    "onnx/model.onnx": model.write(),
  };
}

/** An encoder and a decoder in Whisper's layout; the encoder's hidden states are the means of the spectrogram's bands. */
export function soundRepository(): RepoFiles {
  const encoder = modelOf({
    inputs: { input_features: { dtype: "float32", dims: [1, 80, 3000] } },
    constants: { frames: { dtype: "int64", dims: [1], values: [2] } },
    outputs: ["last_hidden_state"],
    nodes: [
      {
        opType: "ReduceMean",
        input: ["input_features", "frames"],
        output: ["last_hidden_state"],
        attributes: { keepdims: 1 },
      },
    ],
  });
  return {
    "config.json": JSON.stringify({ architectures: ["WhisperForConditionalGeneration"], model_type: "whisper" }),
    "preprocessor_config.json": JSON.stringify({
      feature_extractor_type: "WhisperFeatureExtractor",
      processor_class: "WhisperProcessor",
      ...{ feature_size: 80, sampling_rate: 16_000, hop_length: 160, n_fft: 400, chunk_length: 30 },
      ...{ n_samples: 480_000, nb_max_frames: 3_000, padding_side: "right", padding_value: 0 },
      return_attention_mask: false,
    }),
    "onnx/encoder_model.onnx": encoder.transform(setDims({ input_features: ["batch_size", 80, 3_000] })).write(),
    "onnx/decoder_model_merged.onnx": encoder.write(),
  };
}

/** A model that writes H for a sample above the mean, I for one below, and nothing where the mask is 0. */
export function speechRepository(): RepoFiles {
  const given = { dtype: "float32", dims: [1, 4] } as const;
  const model = modelOf({
    inputs: { input_values: given, attention_mask: { ...given, dtype: "int64" } },
    constants: {
      last: { dtype: "int64", dims: [1], values: [2] },
      weights: { dtype: "float32", dims: [1, 4], values: [0, 1, -1, 0] },
    },
    outputs: ["logits"],
    nodes: [
      { opType: "Cast", input: ["attention_mask"], output: ["mask"], attributes: { to: 1 } },
      { opType: "Mul", input: ["input_values", "mask"], output: ["kept"] },
      { opType: "Unsqueeze", input: ["kept", "last"], output: ["columns"] },
      { opType: "MatMul", input: ["columns", "weights"], output: ["logits"] },
    ],
  });
  return {
    "config.json": JSON.stringify({ architectures: ["Wav2Vec2ForCTC"], model_type: "wav2vec2", vocab_size: 4 }),
    "preprocessor_config.json": JSON.stringify({
      ...{ do_normalize: true, feature_size: 1, padding_side: "right", padding_value: 0, sampling_rate: 16_000 },
      return_attention_mask: true,
    }),
    "tokenizer_config.json": JSON.stringify({ tokenizer_class: "Wav2Vec2CTCTokenizer", do_lower_case: true }),
    "vocab.json": JSON.stringify({ "<pad>": 0, H: 1, I: 2, "|": 3 }),
    "onnx/model.onnx": withRows(model, ["input_values", "attention_mask"]).write(),
  };
}

/** An encoder of sentence-transformers whose vectors are a product of those of the words. */
export function productRepository(): RepoFiles {
  const width = 64;
  const values = (rows: number): number[] => Array.from({ length: rows * width }, (_, i) => Math.sin(i * 7 + 1));
  const model = modelOf({
    inputs: { input_ids: IDS, attention_mask: IDS },
    constants: {
      table: { dtype: "float32", dims: [WORDS.length, width], values: values(WORDS.length) },
      weight: { dtype: "float32", dims: [width, width], values: values(width) },
    },
    outputs: ["last_hidden_state"],
    nodes: [
      { opType: "Gather", input: ["table", "input_ids"], output: ["words"] },
      { opType: "MatMul", input: ["words", "weight"], output: ["last_hidden_state"] },
    ],
  });
  const { "config.json": config, ...others } = encoderRepository();
  const files = Object.entries(others).filter(([path]) => !path.startsWith("onnx/"));
  return {
    ...Object.fromEntries(files),
    "config.json": String(config).replace(String(WIDTH), String(width)),
    "1_Pooling/config.json": JSON.stringify({ word_embedding_dimension: width, pooling_mode_mean_tokens: true }),
    "onnx/model.onnx": withRows(model, ["input_ids", "attention_mask"]).write(),
  };
}
