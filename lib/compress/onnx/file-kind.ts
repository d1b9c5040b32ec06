// Recognition of files that are given in place of an ONNX model, by their first bytes. The common ones are a pointer of
// Git LFS, a download page, and a model of another framework; each has its own way out.

/** Kind of a file, and the fix. */
interface Kind {
  readonly what: string;
  readonly fix: string;
  is(bytes: Uint8Array, text: string): boolean;
}

/** Number of bytes that decide. */
export const KIND_BYTES = 512;

const EXPORT_TORCH = 'export it with torch.onnx.export, or "optimum-cli export onnx"';

const at = (text: string, offset: number, word: string): boolean => text.startsWith(word, offset);

const KINDS: readonly Kind[] = [
  {
    what: "a pointer of Git LFS, not the file itself",
    fix: 'run "git lfs pull" in its repository, or download the file from its page',
    is: (_, text) => at(text, 0, "version https://git-lfs") || at(text, 0, "version https://hawser"),
  },
  {
    what: "a TensorFlow Lite model",
    fix: 'convert it: "python -m tf2onnx.convert --tflite model.tflite --output model.onnx"',
    is: (_, text) => at(text, 4, "TFL3"),
  },
  {
    what: "a model in ONNX Runtime's own format (.ort)",
    fix: "give the .onnx file that it was made from",
    is: (_, text) => at(text, 4, "ORTM"),
  },
  {
    what: "a zip archive, as PyTorch's .pt and .pth and Keras' .keras are",
    fix: `unpack it if it holds a .onnx file; a PyTorch model: ${EXPORT_TORCH}`,
    is: (_, text) => at(text, 0, "PK\u0003\u0004"),
  },
  {
    what: "a pickle of Python, as older PyTorch checkpoints are",
    fix: EXPORT_TORCH,
    is: (bytes) => bytes[0] === 0x80 && (bytes[1] ?? 0) >= 2 && (bytes[1] ?? 0) <= 5,
  },
  {
    what: "a safetensors file, which holds weights without a graph",
    fix: 'export the model: "optimum-cli export onnx --model <folder> <out>"',
    is: (_, text) => at(text, 8, '{"'),
  },
  {
    what: "a GGUF file of llama.cpp",
    fix: "give the model's ONNX export",
    is: (_, text) => at(text, 0, "GGUF"),
  },
  {
    what: "an HDF5 file, as Keras' .h5 is",
    fix: 'convert it: "python -m tf2onnx.convert --keras model.h5 --output model.onnx"',
    is: (_, text) => at(text, 1, "HDF\r\n"),
  },
  {
    what: "compressed by gzip",
    fix: "unpack it",
    is: (bytes) => bytes[0] === 0x1f && bytes[1] === 0x8b,
  },
  {
    what: "a WebAssembly module",
    fix: "give a .onnx file",
    is: (_, text) => at(text, 0, "\0asm"),
  },
  {
    what: "a NumPy array",
    fix: "give a .onnx file; arrays are for --samples and --labels",
    is: (_, text) => at(text, 1, "NUMPY"),
  },
  {
    what: "an HTML page",
    fix: "download the file itself: a hub's address of the bytes has /resolve/ in place of /blob/",
    is: (_, text) => /^\s*<(!doctype|html)/i.test(text),
  },
  {
    what: "JSON",
    fix: "give the .onnx file beside it",
    is: (_, text) => /^\s*[[{]\s*["\]}[{\d]/.test(text),
  },
];

/** Describes a file that is no ONNX model, and the fix, from its first bytes; undefined for an unknown one. */
export function kindOf(bytes: Uint8Array): string | undefined {
  const head = bytes.subarray(0, KIND_BYTES);
  const text = Array.from(head, (x) => String.fromCharCode(x)).join("");
  const kind = KINDS.find((x) => x.is(head, text));
  return kind && `it is ${kind.what}: ${kind.fix}`;
}
