// Text summary of a bundle for a terminal: how it takes images and texts, how it answers, and where it may run.
import { statSync } from "node:fs";
import { dirname } from "node:path";
import { wireBytesOf } from "../../core/bundle.ts";
import type { Bundle, BundleInput, BundleOutput, ImageSpec } from "../../core/bundle.ts";
import type { LocalBackend } from "../../rpc/backend.ts";
import { readBundle, readBundleFile } from "./read-bundle.ts";

/** A summary, and whether some backend is not served. */
export interface BundleSummary {
  readonly text: string;
  /** Backends on which no variant was checked: a load there refuses the bundle. */
  readonly unchecked: readonly LocalBackend[];
}

/** Returns the folder of a bundle, by the path of the folder or of its bundle.json; null for anything else. */
export function bundleFolder(path: string): string | null {
  if (/(^|[\\/])[^\\/]*\.json$/.test(path)) return dirname(path);
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true ? path : null;
}

/**
 * Summarizes the bundle in a folder.
 * @throws SelvedgeError `bundle-invalid`; TypeError where the folder holds none
 */
export async function inspectBundle(folder: string): Promise<BundleSummary> {
  const read = await readBundle(folder).catch((error: unknown) => {
    if (error instanceof Error && "code" in error && error.code === "ENOENT")
      throw new TypeError(`${folder} contains no bundle.json: give the folder that contains it, or an .onnx file`);
    throw error;
  });
  const { bundle, identity } = read;
  const { model, assets = [], variants } = bundle;
  const labels = new Map<string, number>();
  for (const file of assets) {
    const text = new TextDecoder().decode(await readBundleFile(read, file));
    labels.set(file.path, text.replace(/\r?\n$/, "").split(/\r?\n/).length);
  }
  const unchecked = (["webgpu", "wasm"] as const).filter((x) => isUnchecked(bundle, x));
  const missing = unchecked.join(" and ");
  return {
    unchecked,
    text: [
      ...(unchecked.length > 0 ? [`Not checked on ${missing}: a load there refuses this bundle.`] : []),
      `bundle: ${model.name} ${model.version}, ${model.licence}`,
      `identity: ${identity}`,
      ...model.inputs.map((x) => `input: ${portText(x)}${inputText(x)}`),
      ...model.outputs.map((x) => `output: ${portText(x)}${outputText(x, labels)}`),
      ...variants.map((x) => {
        const chunks = new Map(x.files.flatMap((y) => y.chunks).map((y) => [y.sha256, y]));
        const wire = [...chunks.values()].reduce((sum, y) => sum + wireBytesOf(y), 0);
        const not = x.unchecked === undefined ? "" : `; unchecked on ${x.unchecked.join(" and ")}`;
        return `variant: ${x.id}, ${wire} bytes over the wire; needs ${x.needs.join(", ") || "nothing"}${not}`;
      }),
    ].join("\n"),
  };
}

/** Whether variants could run on a backend, and all of them are unchecked there. */
function isUnchecked({ variants }: Bundle, backend: LocalBackend): boolean {
  const other = backend === "wasm" ? "webgpu" : "wasm";
  const able = variants.filter((x) => !x.needs.includes(other));
  return able.length > 0 && able.every((x) => x.unchecked?.includes(backend) === true);
}

function portText({ name, dtype, dims }: BundleInput | BundleOutput): string {
  return `${name} ${dtype} [${dims.join(", ")}]`;
}

function inputText({ image, text, sound }: BundleInput): string {
  if (sound !== undefined)
    return `; sounds of ${sound.sampleRate} Hz, ${sound.op}${sound.op === "samples" ? "" : ` of ${sound.bands} bands`}`;
  if (text !== undefined) return `; texts of at most ${text.maxLength} tokens by ${text.tokenizer}`;
  return image === undefined ? "" : `; images, ${imageText(image)}`;
}

/** Describes an image step in the words of `--image`. */
export function imageText({ resize, channels, layout, scale, mean, std }: ImageSpec): string {
  const { mode, ...sizes } = resize;
  const size = "width" in resize ? [`${resize.width}x${resize.height}`] : [];
  const more = Object.entries<unknown>({ ...sizes })
    .filter(([key]) => !("width" in resize && /^(width|height)$/.test(key)))
    .map(([key, value]) =>
      typeof value === "object" && value !== null ? `${key} ${fieldsText(value)}` : `${key} ${String(value)}`,
    );
  const numbers = [
    scale === undefined ? [] : [`scale ${scale}`],
    mean === undefined ? [] : [`mean ${mean.join("/")}`],
    std === undefined ? [] : [`std ${std.join("/")}`],
  ].flat();
  return [...size, channels, layout, mode, ...more, ...(numbers.length === 0 ? ["0..1"] : numbers)].join(", ");
}

function fieldsText(fields: object): string {
  return Object.entries(fields)
    .map(([key, value]) => `${key} ${String(value)}`)
    .join(" ");
}

function outputText({ decode }: BundleOutput, labels: ReadonlyMap<string, number>): string {
  if (decode === undefined) return "";
  if (!("asset" in decode) || decode.asset === undefined) return `; ${decode.op}`;
  const count = `${labels.get(decode.asset) ?? 0} labels of ${decode.asset}`;
  if (decode.op !== "labels") return `; ${decode.op}, ${count}`;
  const after = decode.logits === "sigmoid" ? ", after a sigmoid" : decode.logits === true ? ", after a softmax" : "";
  return `; labels, the best ${decode.top ?? 5} of ${count}${after}`;
}
