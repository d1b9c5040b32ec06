// `selvedge/vite`: the settings that Vite 5 to 8 need for workers and WebAssembly, and compressed copies of both. Vite's
// types are repeated as far as they are used, so that Vite is no dependency. Each call holds its own state.
import { fileURLToPath } from "node:url";
import { show } from "../core/check-inputs.ts";
import { CODINGS, compressFolder } from "./precompress.ts";
import type { Coding } from "./precompress.ts";
import { isolate, sendCompressedWasm, sendPrecompressed } from "./vite-middleware.ts";
import type { Handler } from "./vite-middleware.ts";

/** Options of the plugin. */
export interface SelvedgeViteOptions {
  /**
   * Sends `Cross-Origin-Opener-Policy: same-origin` and `Cross-Origin-Embedder-Policy: require-corp` with every response
   * of the dev and the preview server: a page needs them for `threads`. Production servers need them too. Default false.
   */
  readonly isolate?: boolean | undefined;
  /**
   * Writes compressed copies (`.br`, `.gz`) of WebAssembly files, workers and other scripts beside them when the client
   * is built; the preview server sends them. `true` for both codings. Default false.
   */
  readonly precompress?: boolean | readonly ("br" | "gzip")[] | undefined;
}

/** A handler of Node's requests and responses. */
export type ViteHandler = (request: object, response: object, next: () => void) => void;

/** The part of Vite's servers that the plugin uses. */
export interface ViteServer {
  /** Handlers of requests. */
  readonly middlewares: {
    /** Adds one. */
    use(handle: ViteHandler): unknown;
  };
}

/** The part of Vite's resolved configuration that the plugin uses. */
export interface ViteConfig {
  /** Folder of the app. */
  readonly root: string;
  /** Path of the app on its server. */
  readonly base: string;
  /** Settings of the dev server. */
  readonly server?: {
    /** Which files it sends. */
    readonly fs?: {
      /** Folders of them, beside modules that the app imports. */
      readonly allow?: string[];
    };
  };
  /** Settings of the build. */
  readonly build: {
    /** Folder of the output, relative to `root`. */
    readonly outDir: string;
    /** Whether the build is for a server. */
    readonly ssr: boolean | string;
  };
  /** Least severe messages that are logged; Vite's default is "info". */
  readonly logLevel?: string | undefined;
  /** Vite's logger. */
  readonly logger: {
    /** Logs a line. */
    info(message: string): void;
  };
}

/** Decides whether a build writes an asset into the script; undefined for Vite's default. */
export type ViteInlineRule = (file: string, content: { readonly length: number }) => boolean | undefined;

/** Vite's setting. Its function takes a Buffer of Node, whose types need not be installed. */
export type ViteInlineLimit = number | ((file: string, content: never) => boolean | undefined) | undefined;

/** The part of the user's settings that the plugin reads. */
export interface ViteUserConfig {
  /** Settings of the build. */
  readonly build?:
    | {
        /** Size in bytes below which assets are written into the script, or a function that decides. */
        readonly assetsInlineLimit?: ViteInlineLimit;
      }
    | undefined;
}

/** The settings that the plugin adds. */
export interface ViteSettings {
  /** Settings of the build. */
  readonly build: {
    /** Never the package's workers and WebAssembly; for all else the user's setting. */
    assetsInlineLimit: ViteInlineRule;
  };
  /** Packages that Vite does not pre-bundle. */
  readonly optimizeDeps: {
    /** Their names. */
    exclude: string[];
  };
  /** Workers of the app. */
  readonly worker: {
    /** A worker that imports Selvedge has chunks, which only modules have. */
    format: "es";
  };
}

/** The plugin, with the hooks of Vite's `Plugin` that it has. */
export interface SelvedgeVitePlugin {
  /** Name of the plugin. */
  readonly name: "selvedge";
  /** Runs after the plugins that write files. */
  readonly enforce: "post";
  /** Whether hooks of the build run in an environment: not in those of servers. */
  applyToEnvironment(environment: { readonly config: { readonly consumer: string } }): boolean;
  /** Returns the settings; keeps the user's. */
  config(user?: ViteUserConfig): ViteSettings;
  /** Returns the settings of an environment that has its own limit; Vite 6 and later. */
  configEnvironment(name: string, settings: ViteUserConfig): Pick<ViteSettings, "build"> | undefined;
  /** Takes the resolved configuration. */
  configResolved(config: ViteConfig): void;
  /** Adds the handlers of the dev server. */
  configureServer(server: ViteServer): void;
  /** Adds the handlers of the preview server. */
  configurePreviewServer(server: ViteServer): void;
  /** Notes a folder that was written. */
  writeBundle(output: { readonly dir?: string | undefined }): void;
  /** Compresses what was written. */
  readonly closeBundle: {
    /** Runs after those of other plugins, which may still write scripts. */
    readonly order: "post";
    /** Runs alone. */
    readonly sequential: true;
    /** Compresses the files. */
    handler(): Promise<void>;
  };
}

/** The entries of the package that pages import. */
const PAGE_ENTRIES: readonly string[] = [
  "selvedge",
  "selvedge/cache",
  "selvedge/service-worker",
  "selvedge/react",
  "selvedge/ai-sdk",
  "selvedge/remote",
  "selvedge/offload",
  "selvedge/wasm",
  "selvedge/min",
  "selvedge/testing",
];

/**
 * The folder of workers and WebAssembly, as Vite writes paths. Vite's dev server allows modules that the app imports
 * wherever they are, but workers and wasm below the app's workspace alone: linked packages, and pnpm's global store, are
 * outside of it.
 */
const PACKAGE_FOLDER: string = fileURLToPath(new URL("..", import.meta.url)).replaceAll("\\", "/");

/**
 * Sets Vite up for Selvedge: leaves the package out of dependency pre-bundling, so that its workers and WebAssembly are
 * found beside it in every layout of `node_modules`; keeps them files whatever `build.assetsInlineLimit` is; builds the
 * app's own workers as modules; compresses WebAssembly in the dev server; and as the options say. For Vite 5 to 8.
 * @throws TypeError for a wrong or unknown option
 * @example
 * export default defineConfig({ plugins: [selvedge({ isolate: true, precompress: true })] });
 */
export function selvedge(options: SelvedgeViteOptions = {}): SelvedgeVitePlugin {
  const { isIsolated, codings } = checkOptions(options);
  const folders: Set<string> = new Set();
  let config: ViteConfig | null = null;
  const add = ({ middlewares }: ViteServer, handlers: readonly Handler[]): void => {
    for (const handle of handlers) middlewares.use(handle as ViteHandler);
  };
  const common = isIsolated ? [isolate] : [];
  return {
    name: "selvedge",
    enforce: "post",
    applyToEnvironment: (environment) => environment.config.consumer === "client",
    config: (user = {}) => ({
      optimizeDeps: { exclude: [...PAGE_ENTRIES] },
      worker: { format: "es" },
      build: { assetsInlineLimit: inlineRule(user.build?.assetsInlineLimit) },
    }),
    // The settings of `environments` win over those of `build`.
    configEnvironment: (_, { build: { assetsInlineLimit: limit } = {} }) =>
      limit === undefined ? undefined : { build: { assetsInlineLimit: inlineRule(limit) } },
    configResolved: (resolved) => {
      config = resolved;
      resolved.server?.fs?.allow?.push(PACKAGE_FOLDER);
    },
    configureServer: (server) => {
      add(server, [...common, sendCompressedWasm()]);
    },
    configurePreviewServer: (server) => {
      add(server, common);
      if (config !== null && codings.length > 0) add(server, [sendPrecompressed(config, codings)]);
    },
    writeBundle: ({ dir }) => {
      if (dir !== undefined && config?.build.ssr === false && codings.length > 0) folders.add(dir);
    },
    closeBundle: {
      order: "post",
      sequential: true,
      handler: async () => {
        const written = [...folders];
        folders.clear();
        if (config !== null) for (const folder of written) await compressFolder(folder, codings, config);
      },
    },
  };
}

/** Vite's own `assetsInlineLimit`, in bytes. */
const DEFAULT_LIMIT = 4096;

/** Returns the user's rule, but for the package's own files: a worker can't be started from a `data:` address. */
function inlineRule(limit: ViteInlineLimit): ViteInlineRule {
  return (file, content) => {
    if (file.startsWith(PACKAGE_FOLDER) || file.includes("/selvedge/dist/")) return false;
    if (typeof limit === "function") return limit(file, content as never);
    if (limit === undefined || content.length < Math.min(limit, DEFAULT_LIMIT)) return undefined;
    // Vite 5 obeys a function before it looks for pages and for parts of SVG files.
    return content.length < limit && (/\.(html|svg)/.test(file) ? undefined : true);
  };
}

interface Checked {
  readonly isIsolated: boolean;
  readonly codings: readonly Coding[];
}

function checkOptions(options: SelvedgeViteOptions): Checked {
  if (typeof options !== "object" || (options as unknown) === null || Array.isArray(options))
    throw new TypeError(`selvedge: expected an object of options, got ${show(options)}`);
  for (const name of Object.keys(options))
    if (name !== "isolate" && name !== "precompress")
      throw new TypeError(`selvedge: unknown option ${name}; the options are isolate and precompress`);
  const { isolate: isIsolated = false, precompress = false } = options;
  if (typeof isIsolated !== "boolean") throw new TypeError(`isolate: expected true or false, got ${show(isIsolated)}`);
  if (typeof precompress === "boolean") return { isIsolated, codings: precompress ? CODINGS : [] };
  if (!Array.isArray(precompress))
    throw new TypeError(`precompress: expected true, false or a list of "br" and "gzip", got ${show(precompress)}`);
  for (const coding of precompress as readonly unknown[])
    if (!CODINGS.some((x) => x === coding))
      throw new TypeError(`precompress: expected "br" and "gzip" in the list, got ${show(coding)}`);
  return { isIsolated, codings: CODINGS.filter((x) => precompress.includes(x)) };
}
