// `selvedge serve` in a process of its own, for tests that kill it: npx tsx e2e/support/serve-bundle.ts PORT FOLDER
import { startServer } from "../../lib/serve/server.ts";

const [port = "", folder = ""] = process.argv.slice(2);
await startServer({ bundles: [folder], port: Number(port), origins: ["*"], lanes: 1, threads: 1, logLevel: "silent" });
