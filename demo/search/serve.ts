// Serves the files of /search/: the project's own documentation as an example, and the model, where `npm run minilm` made
// it. Read by vite.config.ts; no part of the page.
import { createReadStream, existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import type { Connect, Plugin } from "vite";

/** Documents of the example. */
const DOCUMENTS = [
  "browsers",
  "caching",
  "faults",
  "hugging-face",
  "placement",
  "scheduling",
  "security",
  "self-hosting",
];

/** A document of the example. */
export interface Document {
  readonly name: string;
  readonly text: string;
}

/** Finds the file of a folder that a request's path names; null where there is none. */
type FileAt = (folder: string, pathname: string) => string | null;

/** Serves model and documentation; the latter is built, too. */
export function search(root: string, fileAt: FileAt): Plugin {
  const model = serveModel(join(root, "e2e/.cache/minilm"), fileAt);
  return {
    name: "search",
    configureServer: ({ middlewares }) => {
      middlewares.use("/models/minilm", model);
      middlewares.use("/search/documentation.json", (_request, response) => {
        response.setHeader("Content-Type", "application/json");
        response.end(JSON.stringify(readDocumentation(root)));
      });
    },
    configurePreviewServer: ({ middlewares }) => void middlewares.use("/models/minilm", model),
    generateBundle() {
      const source = JSON.stringify(readDocumentation(root));
      this.emitFile({ type: "asset", fileName: "search/documentation.json", source });
    },
  };
}

/** Reads the documentation, without its code and tables. */
function readDocumentation(root: string): Document[] {
  return DOCUMENTS.map((document) => {
    const name = `docs/${document}.md`;
    const text = readFileSync(join(root, name), "utf8");
    return { name, text: text.replaceAll(/^```[^]*?^```$|^\|.*$/gm, "") };
  });
}

/** Serves the model's folder as it is now: it may be made while the server runs. */
function serveModel(folder: string, fileAt: FileAt): Connect.NextHandleFunction {
  return (request, response) => {
    const { pathname } = new URL(request.url ?? "/", "http://localhost");
    // Its graph is written last.
    const path = existsSync(join(folder, "onnx/model.onnx")) ? fileAt(folder, pathname) : null;
    if (path === null) {
      // The page asks whether the model is there.
      response.writeHead(pathname === "/config.json" ? 204 : 404).end();
      return;
    }
    const { size, mtimeMs } = statSync(path);
    const etag = `"${size}-${mtimeMs}"`;
    response.setHeader("ETag", etag);
    response.setHeader("Cache-Control", "no-cache");
    if (request.headers["if-none-match"] === etag) {
      response.writeHead(304).end();
      return;
    }
    const type = path.endsWith(".json") ? "application/json" : "application/octet-stream";
    response.writeHead(200, { "Content-Type": type, "Content-Length": size });
    if (request.method === "HEAD") response.end();
    // A page that leaves, or a file that goes, ends the answer, not the server.
    else pipeline(createReadStream(path), response).catch(() => response.destroy());
  };
}
