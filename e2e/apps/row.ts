// A row of the matrix: an app, a bundler or host, and what the app's author had to do. Rows: rows.ts and rows/. Each
// app is one of `selvedge init`'s templates, so that a template that no longer works fails its rows.
import type { TemplateName } from "../../lib/cli/templates.ts";

/** Browser that opens an app. */
export type AppBrowser = "chromium" | "firefox";

/** How an app is opened. */
export type Serve =
  /** A folder of the app behind a plain static server, below `base`, with headers on every answer. */
  | {
      readonly kind: "folder";
      readonly folder: string;
      readonly base?: string;
      readonly headers?: Readonly<Record<string, string>>;
      /** Second folder, served from an origin of its own that allows every other; `{origin}` in index.html stands for its address. */
      readonly otherOrigin?: string;
    }
  /** A server's command line; `{port}` stands for its port. */
  | { readonly kind: "command"; readonly command: string }
  /** A folder that Chromium loads as an unpacked extension. */
  | { readonly kind: "extension"; readonly folder: string };

/** One app and its set-up. */
export interface Row {
  readonly id: string;
  /** Name in the table of docs/browsers.md. */
  readonly title: string;
  /** Work of the app's author, as the table says. */
  readonly needed: string;
  readonly template: TemplateName;
  /** Packages beside selvedge, with exact versions. */
  readonly packages: Readonly<Record<string, string>>;
  /** Client that installs the packages; npm by default. */
  readonly install?: "npm" | "pnpm" | "yarn-1" | "yarn-pnp";
  /** Whether the app is a workspace, packages/app, whose packages npm installs in the folder above. */
  readonly isWorkspace?: boolean;
  /** Files that are added to the template or replace its own; null removes one. */
  readonly files?: Readonly<Record<string, string | null>>;
  /** Texts of the template's files that are replaced: file, text, replacement. */
  readonly edits?: readonly (readonly [file: string, from: string, to: string])[];
  /** Command lines, run in the app's folder before it is served. */
  readonly build?: readonly string[];
  readonly serve: Serve;
  /** Path of the page; "/" by default. */
  readonly path?: string;
  /** Selector of what is clicked on the page, once it has loaded. */
  readonly click?: string;
  /** Whether the page is opened twice with its server, and once more without it. */
  readonly opensOffline?: boolean;
  /** Folder of the built files, whose bytes are counted; the served folder by default. */
  readonly emitted?: string;
  /** Chromium alone by default. */
  readonly browsers?: readonly AppBrowser[];
  /** Whether `npm test` runs it too, not only the soak. */
  readonly isInSlice?: boolean;
}

/** Text in the picture that every template reads first. */
export const SAMPLE_TEXT = "Read on your own device";
