// Every cause of an error that has a word of its own (`error.details.reason`): the one list behind docs/errors.md and
// `selvedge explain`. Not loaded on the page. errors.ts repeats which of them waiting does not change, as a short set.
import type { ErrorCode } from "./errors.ts";

/** A cause of an error. */
export interface ErrorReason {
  /** Code of the errors that carry it. */
  readonly code: ErrorCode;
  /** The word in `details.reason`. */
  readonly reason: string;
  /** Cause, one sentence. */
  readonly cause: string;
  /** Change that fixes it. */
  readonly fix: string;
  /** Whether the same call may succeed later without a change. */
  readonly retryable: boolean;
}

const TABLE: Readonly<Partial<Record<ErrorCode, Readonly<Record<string, readonly [cause: string, fix: string]>>>>> = {
  "setup-failed": {
    "no-worker": [
      "There are no Web Workers here: Node, a server's render, jsdom, or a service worker.",
      "Create the engine in a page or a dedicated worker: in an effect that runs in the browser; in an extension, in a page or an offscreen document; in tests, in a real browser.",
    ],
    "insecure-context": [
      "Trusted keys need WebCrypto, which browsers have on https and localhost alone.",
      "Open the page over https, or on localhost.",
    ],
    "trusted-types": [
      "The page enforces Trusted Types and no policy was passed, or the policy refuses the address.",
      "Pass `trustedTypesPolicy`, a policy with `createScriptURL`, and name it in the header: `Content-Security-Policy: trusted-types NAME`.",
    ],
    "cross-origin": [
      "The package is served from another origin than the page, and the browser does not start its worker.",
      "Serve `node_modules/selvedge/dist/` from the page's origin and set `assetsBase`; or send `Access-Control-Allow-Origin` with its files and allow `blob:` and its origin in `worker-src`, its origin in `script-src` and `connect-src`.",
    ],
    "worker-missing": [
      "The server answers the worker script's address with an error.",
      'Copy `node_modules/selvedge/dist/worker-*.js` to that address, or set `assetsBase` to where they are; in Vite\'s dev server set `optimizeDeps: { exclude: ["selvedge"] }`, which the plugin of `selvedge/vite` does.',
    ],
    "worker-html": [
      "The server answers the worker script's address with an HTML page, as single-page apps do for unknown paths.",
      'Copy `node_modules/selvedge/dist/worker-*.js` to that address, or set `assetsBase` to where they are; in Vite\'s dev server set `optimizeDeps: { exclude: ["selvedge"] }`, which the plugin of `selvedge/vite` does.',
    ],
    "worker-type": [
      "The worker script has a Content-Type that is not JavaScript.",
      "Serve `.js` as `text/javascript`.",
    ],
    "worker-invalid": [
      "The file at the worker script's address is empty, another script, or not all of it.",
      "Copy `node_modules/selvedge/dist/worker-*.js` there again, unchanged.",
    ],
    "worker-csp": ["The Content-Security-Policy does not allow the worker script.", "Allow `worker-src 'self'`."],
    "worker-coep": [
      "The page has Cross-Origin-Embedder-Policy and the worker script's response has not.",
      "Send the same `Cross-Origin-Embedder-Policy` with the package's files.",
    ],
    "worker-refused": [
      "The worker script is served as JavaScript, yet the browser refuses it: by a header, or for a syntax error.",
      "Look at the browser's console; check the response's headers against a page without them, and copy the file again.",
    ],
    "worker-unreachable": [
      "The worker script could not be requested: its address is no http address, or `connect-src` of the Content-Security-Policy keeps the page from asking.",
      "Check that the address is reachable from the page: `assetsBase`, CORS, and the network.",
    ],
    "wasm-missing": [
      "The server answers the WebAssembly file's address with an error.",
      "Copy `node_modules/selvedge/dist/ort-*.wasm` beside the worker scripts, or set `assetsBase`.",
    ],
    "wasm-html": [
      "The server answers the WebAssembly file's address with an HTML page.",
      "Copy `node_modules/selvedge/dist/ort-*.wasm` beside the worker scripts, or set `assetsBase`.",
    ],
    "wasm-invalid": [
      "The file at the WebAssembly file's address is something else.",
      "Copy `node_modules/selvedge/dist/ort-*.wasm` again, as binary files.",
    ],
    "wasm-csp": [
      "The Content-Security-Policy does not allow WebAssembly, or not its address.",
      "Allow `script-src 'self' 'wasm-unsafe-eval'`, and `connect-src` for the file's origin.",
    ],
    "wasm-unreachable": [
      "The WebAssembly file could not be requested.",
      "Check that the address is reachable; from another origin it needs `Access-Control-Allow-Origin`.",
    ],
    "wasm-encoding": [
      "The WebAssembly file is not compressed as the response's `Content-Encoding` says.",
      "Send `Content-Encoding` only with the compressed file: `.wasm.br` as `br`, `.wasm.gz` as `gzip`; let nothing compress it again.",
    ],
    "worker-redirected": [
      "The worker script's address is redirected to another origin, from which browsers start no worker, or without an end.",
      "Serve the file itself there, or set `assetsBase` to where it is served.",
    ],
    bundler: [
      "A bundler moved the package's code away from its workers, or inlined them.",
      'Serve `worker-*.js` and `*.wasm` of `node_modules/selvedge/dist/`, and set `assetsBase` to their folder; in Vite use the plugin of `selvedge/vite`, or set `optimizeDeps: { exclude: ["selvedge"] }` and let `build.assetsInlineLimit` be no more than its default.',
    ],
    package: [
      "A command lacks an optional package or a browser, or finds another version.",
      "Run the install command in the message.",
    ],
    version: [
      "The page and its worker scripts are of different releases of the package.",
      "Copy `node_modules/selvedge/dist/` again after each update, and do not let caches keep the old files.",
    ],
  },
  "no-backend": {
    pinned: ["The backend that was asked for by name is absent.", "Leave `backend` out, or add `wasm` to `backends`."],
    "no-backends": [
      "None of the engine's `backends` is in this browser: a GPU or JSPI is missing, or a policy switches WebAssembly off.",
      "Leave `backends` out; where WebAssembly is off, show something else there: catch this code.",
    ],
    "no-variant": ["No variant of the bundle fits the device.", "Add a variant for wasm: `selvedge compress`."],
    "old-browser": [
      "The browser is older than the oldest that is supported: Chrome and Edge 116, Firefox 124, Safari 17.4.",
      "Show something else there: catch this code.",
    ],
    newer: ["The bundle needs a newer release of selvedge.", "Update the package."],
  },
  "download-failed": {
    "not-found": [
      "The server has no such file (404, 410), or sends no content (204); or a `blob:` URL was revoked or is of another page.",
      "Deploy the whole bundle; check the address; pass a Blob itself in place of its URL.",
    ],
    denied: ["The server wants credentials (401, 403, 407, 451).", "Make the file public, or send the cookies."],
    refused: [
      "The server refuses the request (another status of 400 to 499, or 501, 505), or answers with a part of a file (206) of which all was requested.",
      "Read the server's log.",
    ],
    credentials: [
      "The URL has a user name or a password in it, and browsers fetch no such URL.",
      "Take them out; fetch an `.onnx` yourself with an `Authorization` header and pass its bytes to `load`, and labels as a list of texts. A bundle is loaded by its URL alone: use cookies, or an origin that needs none.",
    ],
    html: [
      "The server answers a chunk's address with an HTML page.",
      "Deploy `chunks/` with `bundle.json`; take `chunks/` out of the rewrites to a start page.",
    ],
    encoding: [
      "The file is not compressed as the response's `Content-Encoding` says.",
      "Send `Content-Encoding` only with files that are compressed so.",
    ],
    "git-lfs": ["A chunk is a Git LFS pointer, not the file itself.", "Run `git lfs pull` before deploying."],
    cors: [
      "The file is on another origin that does not allow this one to read it.",
      "Send `Access-Control-Allow-Origin` from there, or serve the model from the page's origin.",
    ],
    csp: ["The Content-Security-Policy does not allow the address.", "Add its origin to `connect-src`."],
    "mixed-content": ["The page is https and the address is http.", "Serve the model over https."],
    "too-large": ["The file exceeds the limit on its size.", "Check the address, or split the model."],
    "not-stored": ["The store does not hold that model.", "Load it first, or choose one of `list()`."],
    server: [
      "The server failed (500 and above, 501 and 505 aside, or another status that is no answer), or sends a part of a chunk again and again (206).",
      "Try again later.",
    ],
    busy: ["The server asks to wait (202, 408, 425, 429).", "Try again later."],
    stalled: ["No data arrived for 20 s.", "Try again."],
    cut: ["The connection was closed before the end of the file.", "Try again."],
    offline: ["The browser has no network.", "Try again when it has."],
    unreachable: [
      "The server could not be reached, or redirects the request without end.",
      "Check the address and its redirects; try again.",
    ],
    unreadable: ["The browser lost the bytes of a Blob or File.", "Pick the file again, or load the model again."],
  },
  "worker-crashed": {
    server: [
      "The server failed to serve the worker script or the WebAssembly file (500 and above, 501 and 505 aside, or 429), or closed the connection of the script without an answer.",
      "Try again later.",
    ],
    offline: ["The network was away when a worker had to be started.", "Try again when it is back."],
    "worker-stalled": [
      "The server accepts the request for a worker script, and sends nothing: for 20 s, or for 5 s after the browser gave up.",
      "Try again; look at the server, or at a proxy before it.",
    ],
    "wasm-stalled": [
      "The server accepts the request for the WebAssembly file, and sends nothing for 20 s.",
      "Try again; look at the server, or at a proxy before it.",
    ],
    "wasm-cut": ["The response with the WebAssembly file ended early.", "Try again."],
    transient: ["The worker script did not load, and a second attempt did.", "Try again."],
  },
  "model-invalid": {
    html: [
      "The file, or that of its labels, is an HTML page.",
      "Check the address: servers answer unknown paths with their start page.",
    ],
    text: ["The file is text.", "Check the address."],
    "git-lfs": [
      "The file, or that of its labels, is a Git LFS pointer, not the file itself.",
      "Run `git lfs pull` before deploying.",
    ],
    picture: ["The file is a picture.", "Pass the model; pictures are inputs of `run`."],
    zip: ["The file is a ZIP archive.", "Unpack it and use the `.onnx` file inside."],
    gzip: ["The file is compressed with gzip.", "Unpack it, or let the server name the `Content-Encoding`."],
    safetensors: ["The file holds weights alone (safetensors).", "Export the model to ONNX."],
    pickle: ["The file is a PyTorch checkpoint.", "Export the model to ONNX: `torch.onnx.export`."],
    "other-format": [
      "The file is a model of another format (GGUF, HDF5, TensorFlow Lite).",
      "Export the model to ONNX.",
    ],
    empty: ["The file has no bytes.", "Check how it was made and copied."],
    "external-data": [
      "The model's weights are in other files, which its bytes alone don't lead to.",
      "Load the model by its URL, with its data beside it, or save it as one file.",
    ],
    "external-path": ["The model names weights outside of its folder.", "Save it again with its data beside it."],
    "no-onnx": [
      "The repository or folder holds no ONNX graph.",
      "Take one with an `onnx/` folder, or export the model: `optimum-cli export onnx`.",
    ],
    "several-graphs": [
      "The repository has several graphs, and none is `model`; or they lie in several folders.",
      "Name one by `file`.",
    ],
    "no-graph": ["The repository has no graph of the name in `file`.", "Take one that the message lists."],
    onnx: ["ONNX Runtime refuses the model.", "Read the message: it names the operator or the fault."],
  },
  "wrong-result": {
    golden: [
      "The GPU's answer to the known input of the bundle is wrong.",
      "Leave `backend` out, so that the model runs on wasm here; or name another variant.",
    ],
    unverified: [
      "The model has no known input, and wasm can't run it to make one, so the GPU's answers can't be checked.",
      "Compress it to a bundle; or pass `allowUnverified: true` to `load`.",
    ],
    nan: ["An output holds NaN: the model overflowed.", "Load another variant, as one in float32."],
  },
  "does-not-fit": {
    "wasm-limit": [
      "The model needs more WebAssembly memory than the 4 GiB that there are: about 2.8 GB of float32 weights.",
      "Pack a quantized variant, or let it run on WebGPU, whose weights do not pass through WebAssembly memory.",
    ],
    "gpu-buffer": [
      "The largest tensor exceeds the largest buffer of this GPU (`maxBufferSize`).",
      "Leave `backend` out, so that the model may run on wasm; or pack a quantized variant.",
    ],
    "memory-budget": [
      "The weights alone exceed `memoryBudgetBytes`.",
      "Raise `memoryBudgetBytes`, pass `keepInMemory: true`, or pack a smaller variant.",
    ],
    "device-memory": [
      "The model needs far more memory than the device has (`navigator.deviceMemory`).",
      "Pack a smaller variant.",
    ],
  },
  "bundle-invalid": {
    html: ["`bundle.json` is an HTML page.", "Check the address: servers answer unknown paths with their start page."],
    "git-lfs": ["`bundle.json` is a Git LFS pointer.", "Run `git lfs pull` before deploying."],
    "not-json": [
      "`bundle.json`, a repository's file, or a hub's list of files is not JSON.",
      "Check the address, or make the bundle again with `selvedge compress`.",
    ],
    schema: [
      "`bundle.json` is JSON, and not the description of a bundle, or one with a field that is missing or wrong.",
      "Check the address, or make the bundle again with `selvedge compress`.",
    ],
    "no-size": [
      "The host does not state the size of a repository's file.",
      "Send `Content-Length`, and do not compress `.onnx` files on the fly.",
    ],
    newer: ["An output is decoded by a step of a newer release.", "Install a newer release of selvedge."],
  },
  "remote-failed": {
    unreachable: [
      "The inference server gave no answer: it is away, closed the connection, redirects, or can't be reached by name or certificate.",
      "Check the address and that the server runs; redirects are not followed. Where the message says that the server is up, look for a status 500 in its log, and let the proxy send CORS headers with 502 and 503.",
    ],
    cors: [
      "The inference server is up, and the browser may not read its answer: no CORS headers.",
      "Serve it on the page's origin through a proxy (Triton has no CORS headers); on KServe and MLServer allow the origin.",
    ],
    cut: ["The connection was closed before the end of the answer.", "Try again."],
    timeout: [
      "No complete answer came in `timeoutMs` or `attemptTimeoutMs`.",
      "Raise them for slow models; look whether the server is overloaded.",
    ],
    busy: ["The server asks to wait (408, 425, 429, 503).", "Try again later, or add servers."],
    server: ["A proxy or the server failed (502 and above).", "Try again later."],
    failed: [
      "The server failed on this request (500). Servers answer so to requests that they don't understand, too.",
      "Read the message and the server's log.",
    ],
    denied: ["The server wants credentials (401, 403, 407).", "Return a valid token from `headers`."],
    "not-found": [
      "The server has no such model or version (404, 410), or the address is not that of the server.",
      "Check `endpoints`, the model's name and its version.",
    ],
    refused: [
      "The server refuses the request (another status of 400 to 499, or 501: KServe has no versions).",
      "Read the message.",
    ],
    "bad-reply": [
      "The answer breaks the protocol, or is of another model, version, type or shape than was asked for.",
      "Read the message; after a new deployment connect to the model again.",
    ],
    "other-model": [
      "The server's model is not the bundle's: its inputs or outputs differ, it answers the bundle's golden otherwise, or the bundle has none.",
      "Name the model in `remote.models`; `verified: true` there for a bundle without a golden.",
    ],
    "too-large": ["The answer exceeds `maxReplyBytes`.", "Ask for fewer outputs, or raise it."],
    "no-binary": [
      "The model takes BF16, which only the binary tensor extension carries, and the server lacks it.",
      "Serve the model with float32 inputs, or on Triton.",
    ],
  },
  "integrity-failed": {
    unsigned: ["Trusted keys are set and the model is not signed.", "Sign the bundle: `selvedge sign`."],
    malformed: ["`signature.json` does not match its schema.", "Sign the bundle again."],
    "wrong-key": ["None of the trusted keys signed the bundle.", "Sign it with a trusted key, or trust its key."],
    altered: ["The bundle is not the one that was signed.", "Deploy the signed bundle as a whole."],
    expired: ["The signature has expired.", "Sign the bundle again."],
    older: ["The bundle is older than one that this device has seen.", "Deploy the newest release."],
    "other-model": ["The address served another model before.", "Use another address, or pass `name`."],
    "other-version": ["The bundle is not the one of `identity`.", "Deploy that version, or change `identity`."],
    redirected: ["`bundle.json` came from another origin.", "Load it from there, or pass `identity`."],
    hash: [
      "Bytes do not match their size or SHA-256.",
      "Deploy the bundle as a whole; turn off transformations by a CDN.",
    ],
  },
};

/** Causes that pass by waiting. */
const WAIT: ReadonlySet<string> = new Set([
  ...["server", "busy", "stalled", "cut", "offline", "unreachable", "unreadable"].map((x) => `download-failed ${x}`),
  ...["server", "busy", "timeout", "cut", "unreachable"].map((x) => `remote-failed ${x}`),
]);

/** Lists every cause that has a word, grouped by code. */
export const ERROR_REASONS: readonly ErrorReason[] = Object.entries(TABLE).flatMap(([code, reasons]) =>
  Object.entries(reasons).map(([reason, [cause, fix]]) => {
    const retryable = code === "worker-crashed" || WAIT.has(`${code} ${reason}`);
    return { code: code as ErrorCode, reason, cause, fix, retryable };
  }),
);
