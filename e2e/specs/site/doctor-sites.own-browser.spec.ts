// `selvedge doctor` on sites with one fault each, of hosts, bundlers and files. Needs dist/ and the bundles.
import { FILE_SITES } from "../../doctor/file-sites.ts";
import { SITES } from "../../doctor/sites.ts";
import { TWINS } from "../../doctor/twins.ts";
import { testFixes, useBrowsers } from "../../doctor/use-browsers.ts";
import { sample } from "../../../lib/test-support/slice.ts";

/** A part of the sites in each run, all of them in the soak: one takes 12 seconds. */
testFixes(useBrowsers(), sample([...SITES, ...TWINS, ...FILE_SITES], 18));
