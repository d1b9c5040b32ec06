// Names of the ONNX files of a repository in the Hugging Face layout: `<folder>/<base>[_<suffix>].onnx`, where the suffix
// names the encoding of the weights, and external data beside the graph. The rule is that of transformers.js and
// optimum; names only list candidates, and the graph's own `location` decides which data it reads.
import { SelvedgeError } from "../core/errors.ts";

/** Encodings by the suffix of the file's name; the words are transformers.js' values of `dtype`. */
export const DTYPE_BY_SUFFIX: Readonly<Record<string, string>> = {
  "": "fp32",
  _fp16: "fp16",
  _quantized: "q8",
  _int8: "int8",
  _uint8: "uint8",
  _q4: "q4",
  _q4f16: "q4f16",
  _bnb4: "bnb4",
  _q2: "q2",
  _q2f16: "q2f16",
  _q1: "q1",
  _q1f16: "q1f16",
};

/** One graph of a repository. */
export interface GraphFile {
  /** Path in the repository, as `onnx/model_q4.onnx`. */
  readonly path: string;
  /** Name without the suffix, as `model` or `encoder_model`. */
  readonly base: string;
  /** Encoding, as `q4`. */
  readonly dtype: string;
  /** Paths of the data that its name leads to, in the order of their numbers. */
  readonly data: readonly string[];
}

/** Base names in the order of preference, where none is requested. */
const USUAL_BASE = "model";
/** Folders in the order of preference. */
const FOLDERS = ["onnx/", ""];

/** Lists the graphs among a repository's paths, those of `onnx/` first. */
export function listGraphs(paths: readonly string[]): GraphFile[] {
  const graphs = paths.filter((path) => path.endsWith(".onnx")).map((path) => graphOf(path, paths));
  const rank = ({ path }: GraphFile): number => {
    const at = FOLDERS.indexOf(folderOf(path));
    return at === -1 ? FOLDERS.length : at;
  };
  return graphs.sort((a, b) => rank(a) - rank(b) || (a.path < b.path ? -1 : 1));
}

function graphOf(path: string, paths: readonly string[]): GraphFile {
  const stem = path.slice(path.lastIndexOf("/") + 1, -".onnx".length);
  const suffix = Object.keys(DTYPE_BY_SUFFIX)
    .filter((x) => x !== "" && stem.endsWith(x) && stem.length > x.length)
    .reduce((longest, x) => (x.length > longest.length ? x : longest), "");
  const base = stem.slice(0, stem.length - suffix.length);
  return { path, base, dtype: DTYPE_BY_SUFFIX[suffix] as string, data: dataOf(path, paths) };
}

/** Lists the external data of a graph by its name: `.onnx_data`, `.onnx_data_1`, …, or `.onnx.data` of torch's exporter. */
function dataOf(path: string, paths: readonly string[]): string[] {
  const found = paths.flatMap((x): [string, number][] => {
    const match = x.startsWith(path) ? /^(?:_data|\.data)(?:_(\d+))?$/.exec(x.slice(path.length)) : null;
    return match === null ? [] : [[x, Number(match[1] ?? 0)]];
  });
  return found.sort(([, a], [, b]) => a - b).map(([x]) => x);
}

/**
 * Returns the encodings of one graph, of one folder: the requested graph (base name, file name or path), else `model`,
 * else the only one.
 * @param repository - its name, for messages
 * @throws SelvedgeError `model-invalid` where there is no graph, or several and none is requested
 */
export function chooseGraphs(
  graphs: readonly GraphFile[],
  wanted: string | undefined,
  repository: string,
): readonly GraphFile[] {
  if (wanted !== undefined) return requested(graphs, wanted, repository);
  if (graphs.length === 0)
    throw new SelvedgeError(
      "model-invalid",
      `${repository} has no .onnx file: take a repository with an onnx/ folder, or export the model (optimum-cli export onnx).`,
      { repository, reason: "no-onnx" },
    );
  const usual = graphs.filter((x) => x.base === USUAL_BASE);
  const [first] = usual.length > 0 ? usual : graphs;
  const alike = graphs.filter((x) => x.base === first?.base && folderOf(x.path) === folderOf(first.path));
  const folders = new Set(graphs.map((x) => folderOf(x.path)));
  // A pipeline of several models, as a diffusers layout, has a part in each folder.
  if (folders.size > 1 && first !== undefined && !FOLDERS.includes(folderOf(first.path)))
    throw severalGraphs(
      repository,
      "they lie in several folders",
      graphs.map((x) => x.path),
    );
  const bases = basesOf(graphs);
  if (usual.length > 0 || bases.length === 1) return alike;
  throw severalGraphs(repository, `none is "${USUAL_BASE}"`, bases);
}

function severalGraphs(repository: string, why: string, files: readonly string[]): SelvedgeError {
  return new SelvedgeError(
    "model-invalid",
    `${repository} has several graphs and ${why}: choose one by \`file\`: ${files.map((x) => `"${x}"`).join(", ")}.`,
    { repository, files, reason: "several-graphs" },
  );
}

/** Returns the graphs that a base name, a file name or a path means. */
function requested(graphs: readonly GraphFile[], wanted: string, repository: string): readonly GraphFile[] {
  const exact = graphs.find((x) => x.path === wanted || nameOf(x.path) === wanted);
  if (exact !== undefined) return [exact];
  const [first] = graphs.filter((x) => x.base === wanted);
  const alike = graphs.filter((x) => x.base === wanted && folderOf(x.path) === folderOf(first?.path ?? ""));
  if (alike.length > 0) return alike;
  const stem = graphs.find((x) => nameOf(x.path) === `${wanted}.onnx`);
  if (stem !== undefined) return [stem];
  throw new SelvedgeError(
    "model-invalid",
    `${repository} has no graph "${wanted}", only ${
      basesOf(graphs)
        .map((x) => `"${x}"`)
        .join(", ") || "none"
    }.`,
    { repository, file: wanted, reason: "no-graph" },
  );
}

function basesOf(graphs: readonly GraphFile[]): string[] {
  return [...new Set(graphs.map((x) => x.base))];
}

/** Bound on a graph whose weights may all be external: it is read to find their files. */
const GRAPH_MAX_BYTES = 4 * 1024 * 1024;
/** Names that lead from a graph to its data. */
const NAMED_DATA = /\.onnx(?:_data|\.data)(?:_\d+)?$/;
/** Endings of files that hold no weights. */
const NO_DATA = /\.(?:onnx|json|jsonl|txt|md|model|jinja|py|ya?ml|png|jpe?g|safetensors|gitattributes)$/i;

/**
 * Whether a graph must be read to find its external data: it is small, and another file than its name leads to lies beside
 * it that may be it.
 */
export function mayHideData(graph: GraphFile, bytes: number | null, paths: readonly string[]): boolean {
  if (bytes === null || bytes > GRAPH_MAX_BYTES) return false;
  return neighboursOf(graph, paths).some((x) => !graph.data.includes(x));
}

/**
 * Lists the files beside a graph, or in folders beside one in a folder, that may hold its weights; where its name leads to
 * some, those that another graph's name leads to are none.
 */
export function neighboursOf({ path, data }: GraphFile, paths: readonly string[]): string[] {
  const folder = folderOf(path);
  // Beside a graph at the top lies all of the repository.
  const isNear = (x: string): boolean => x.startsWith(folder) && (folder !== "" || !x.includes("/"));
  const isOther = (x: string): boolean => data.length > 0 && !data.includes(x) && NAMED_DATA.test(x);
  return paths.filter((x) => isNear(x) && !NO_DATA.test(x) && !isOther(x));
}

/** Returns the folder of a path with its slash; empty for the root. */
export function folderOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/") + 1);
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}
