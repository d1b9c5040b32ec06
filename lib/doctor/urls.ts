// Addresses: which of Selvedge's files one names, and how it is written in a message.
import type { Role } from "./evidence.ts";

/** Names of Selvedge's files, as the package has them or with a bundler's hash. */
const NAMES: readonly (readonly [RegExp, Role])[] = [
  [/^worker-cache\b[^/]*\.m?js$/, "cache-worker"],
  [/^worker-(?:jspi|wasm)\b[^/]*\.m?js$/, "worker"],
  [/^ort-(?:jspi|wasm)-rest\b[^/]*\.wasm$/, "rest"],
  [/^ort-(?:jspi|wasm)\b[^/]*\.wasm$/, "wasm"],
  [/^brotli\b[^/]*\.wasm$/, "brotli"],
  [/^bundle\.json$/, "bundle"],
  [/\.(?:onnx|ort)$/, "model"],
];

/** Returns the role of a file by its name; null where the name says nothing. */
export function roleByName(url: string): Role | null {
  if (!URL.canParse(url)) return null;
  const { pathname } = new URL(url);
  if (/\/chunks\/[\da-f]{64}(?:\.bin)?$/.test(pathname)) return "chunk";
  const name = pathname.slice(pathname.lastIndexOf("/") + 1);
  return NAMES.find(([pattern]) => pattern.test(name))?.[1] ?? null;
}

/** Returns the name of one of the package's files without hash and ending; null for other files. */
export function stemOf(url: string): string | null {
  return /^(?:worker-(?:cache|jspi|wasm)|ort-(?:jspi|wasm)(?:-rest)?|brotli)\b/.exec(nameOf(url))?.[0] ?? null;
}

/** Returns an address without query and fragment. */
export function bare(url: string): string {
  return url.replace(/[?#].*$/s, "");
}

/** Returns the folder of an address, with its slash. */
export function folderOf(url: string): string {
  return new URL(".", url).href;
}

/** Returns the path of an address. */
export function pathOf(url: string): string {
  return URL.canParse(url) ? new URL(url).pathname : url;
}

/** Returns the last part of an address's path. */
export function nameOf(url: string): string {
  const path = pathOf(url);
  return path.slice(path.lastIndexOf("/") + 1);
}

/** Ends of names that bundlers make of the content: of code, and of other files, whose names have words of that length. */
const HASHES = [
  /[.-](?=[\w-]*[A-Z\d])[\w-]{8,}\.(?:m?js|css|wasm)$/,
  /[.-](?=\w*\d)(?:[\da-f]{8,}|(?=\w*[a-z])(?=\w*[A-Z])\w{8})\.\w+$/,
];

/** Whether an address has a hash in its name, which is another one when the content is. */
export function isHashed(url: string): boolean {
  const name = nameOf(url);
  return HASHES.some((x) => x.test(name));
}

/** Returns the ending of an address's path with its dot; "" without one. */
export function extensionOf(url: string): string {
  return /\.[a-z\d]+$/i.exec(nameOf(url))?.[0].toLowerCase() ?? "";
}

/** Undoes percent-encoding, where it is one: servers match paths without it. */
export function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Whether a host name is this machine for a browser: pages there are secure contexts without https. */
export function isLoopback(hostname: string): boolean {
  return /^(?:localhost|.+\.localhost|127(?:\.\d+){3}|\[::1\]|::1)$/i.test(hostname);
}
