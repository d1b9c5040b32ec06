// Recognition of files that are given in place of an ONNX model, by their first bytes. The common ones are a pointer of
// Git LFS, a download page, and a model of another framework; each has its own way out.

/** Kind of a file, and the fix. */
interface Kind {
  readonly what: string;
  readonly fix: string;
  /** The texts with which such a file begins, one character a byte, or a pattern of its first bytes. */
  readonly head: readonly string[] | RegExp;
  /** Offset of those texts; 0 by default. */
  readonly at?: number;
}

/** Number of bytes that decide. */
export const KIND_BYTES = 512;

const EXPORT_TORCH = 'export it with torch.onnx.export, or "optimum-cli export onnx"';

const KINDS: readonly Kind[] = [
  {
    what: "a pointer of Git LFS, not the file itself",
    fix: 'run "git lfs pull" in its repository, or download the file from its page',
    head: ["version https://git-lfs", "version https://hawser"],
  },
  {
    what: "a TensorFlow Lite model",
    fix: 'convert it: "python -m tf2onnx.convert --tflite model.tflite --output model.onnx"',
    head: ["TFL3"],
    at: 4,
  },
  {
    what: "a model in ONNX Runtime's own format (.ort)",
    fix: "give the .onnx file that it was made from",
    head: ["ORTM"],
    at: 4,
  },
  {
    what: "a SavedModel of TensorFlow",
    fix: 'convert its folder: "python -m tf2onnx.convert --saved-model <folder> --output model.onnx"',
    head: ["\b\u0001\u0012"],
  },
  {
    what: "a model of OpenVINO",
    fix: "give the .onnx file that it was made from",
    head: /^\s*(<\?xml[^>]*>\s*)?<net\b/,
  },
  {
    what: "a zip archive, as PyTorch's .pt and .pth and Keras' .keras are",
    fix: `unpack it if it holds a .onnx file; a PyTorch model: ${EXPORT_TORCH}`,
    head: ["PK\u0003\u0004"],
  },
  {
    what: "a pickle of Python, as older PyTorch checkpoints are",
    fix: EXPORT_TORCH,
    head: ["\u0080\u0002", "\u0080\u0003", "\u0080\u0004", "\u0080\u0005"],
  },
  {
    what: "a safetensors file, which holds weights without a graph",
    fix: 'export the model: "optimum-cli export onnx --model <folder> <out>"',
    head: ['{"'],
    at: 8,
  },
  {
    what: "a GGUF file of llama.cpp",
    fix: "give the model's ONNX export",
    head: ["GGUF"],
  },
  {
    what: "an HDF5 file, as Keras' .h5 is",
    fix: 'convert it: "python -m tf2onnx.convert --keras model.h5 --output model.onnx"',
    head: ["HDF\r\n"],
    at: 1,
  },
  {
    what: "compressed by gzip",
    fix: "unpack it",
    head: ["\u001f\u008b"],
  },
  {
    what: "a WebAssembly module",
    fix: "give a .onnx file",
    head: ["\0asm"],
  },
  {
    what: "a NumPy array",
    fix: "give a .onnx file; arrays are for --samples and --labels",
    head: ["NUMPY"],
    at: 1,
  },
  {
    what: "an HTML page",
    fix: "download the file itself: a hub's address of the bytes has /resolve/ in place of /blob/",
    head: /^\s*<(!doctype|html)/i,
  },
  {
    what: "JSON",
    fix: "give the .onnx file beside it",
    head: /^\s*[[{]\s*["\]}[{\d]/,
  },
];

/** Describes a file that is no ONNX model, and the fix, from its first bytes; undefined for an unknown one. */
export function kindOf(bytes: Uint8Array): string | undefined {
  const text = Array.from(bytes.subarray(0, KIND_BYTES), (x) => String.fromCharCode(x)).join("");
  const kind = KINDS.find(({ head, at = 0 }) =>
    head instanceof RegExp ? head.test(text) : head.some((each) => text.startsWith(each, at)),
  );
  return kind && `it is ${kind.what}: ${kind.fix}`;
}
