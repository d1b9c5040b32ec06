// The release that runs. What a page remembers for later pages (measurements, kept answers) is good for this release alone:
// another one may have other kernels, and other shapes of what is kept. version.test.ts holds it to package.json.

/** Versions of this package and of the ONNX Runtime in it. */
export const RELEASE = "0.1.0 1.30.0";
