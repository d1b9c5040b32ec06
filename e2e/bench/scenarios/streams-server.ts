// Serves one file to pages of other origins, over HTTP/1.1 on port 8001 and over HTTP/2 on port 8002.
//   tsx streams-server.ts FILE KEY CERTIFICATE
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createSecureServer } from "node:http2";

const [file = "", key = "", cert = ""] = process.argv.slice(2);
const bytes = readFileSync(file);
const SHARED = {
  "access-control-allow-origin": "*",
  "access-control-expose-headers": "*",
  "access-control-allow-headers": "*",
  "content-type": "application/octet-stream",
  "cache-control": "no-store",
  etag: '"1"',
};

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | number>>;
  readonly body: Uint8Array;
}

function answerTo(method: string | undefined, header: string | undefined): Answer {
  if (method === "OPTIONS") return { status: 204, headers: SHARED, body: new Uint8Array() };
  const range = /^bytes=(\d+)-(\d*)$/.exec(header ?? "");
  const headers = { ...SHARED, "accept-ranges": "bytes" };
  if (range === null) return { status: 200, headers: { ...headers, "content-length": bytes.length }, body: bytes };
  const from = Number(range[1]);
  const to = range[2] === "" ? bytes.length - 1 : Math.min(Number(range[2]), bytes.length - 1);
  const body = bytes.subarray(from, to + 1);
  const part = { "content-range": `bytes ${from}-${to}/${bytes.length}`, "content-length": body.length };
  return { status: 206, headers: { ...headers, ...part }, body };
}

createServer((request, response) => {
  const { status, headers, body } = answerTo(request.method, request.headers.range);
  response.writeHead(status, headers).end(body);
}).listen(8001, "0.0.0.0");

// A session refuses streams while it holds more than 10 MB by default, as four of these do.
createSecureServer({ key: readFileSync(key), cert: readFileSync(cert), maxSessionMemory: 100 }, (request, response) => {
  const { status, headers, body } = answerTo(request.method, request.headers.range);
  response.writeHead(status, headers).end(body);
}).listen(8002, "0.0.0.0", () => {
  console.log("ready");
});
